//! Signals that end the program wait while files take their places.
//!
//! From the first time on, a flag decides what SIGINT (ctrl-C) and SIGTERM do: end the program as
//! ever, or be remembered. SIGXFSZ (a file beyond the user's limit) is remembered too, so that the
//! write fails with an error.

#[cfg(unix)]
pub use unix::Held;

#[cfg(unix)]
mod unix {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock};

    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::{flag, low_level};

    struct Signals {
        /// Nothing waits.
        free: Arc<AtomicBool>,
        /// The signal that came, or 0.
        came: Arc<AtomicUsize>,
    }

    static SIGNALS: OnceLock<Signals> = OnceLock::new();

    /// Signals that whoever started us wants ignored: they stay so. A bit for each, from 1 on.
    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }

    /// While it is there, signals wait.
    pub struct Held(&'static Signals);

    impl Held {
        pub fn now() -> Held {
            let signals = SIGNALS.get_or_init(|| {
                let signals = Signals { free: Arc::default(), came: Arc::default() };
                let ignored = ignored();
                let is_heard = |signal: &i32| ignored & (1 << (signal - 1)) == 0;
                for signal in [SIGINT, SIGTERM, SIGXFSZ].into_iter().filter(is_heard) {
                    // Where the kernel refuses, the signal ends the program, as it would have.
                    let free = Arc::clone(&signals.free);
                    if flag::register_conditional_default(signal, free).is_ok() && signal != SIGXFSZ
                    {
                        let came = Arc::clone(&signals.came);
                        let _ = flag::register_usize(signal, came, signal as usize);
                    }
                }
                signals
            });
            signals.free.store(false, Ordering::SeqCst);
            Held(signals)
        }

        /// Whether a signal waits.
        pub fn is_over(&self) -> bool {
            self.0.came.load(Ordering::SeqCst) != 0
        }

        /// Lets the signal that came do what it does.
        pub fn release(self) {
            self.0.free.store(true, Ordering::SeqCst);
            let came = self.0.came.swap(0, Ordering::SeqCst);
            if came != 0 {
                let _ = low_level::emulate_default_handler(came as i32);
            }
        }
    }
}

/// Elsewhere nothing waits.
#[cfg(not(unix))]
pub struct Held;

#[cfg(not(unix))]
impl Held {
    pub fn now() -> Held {
        Held
    }

    pub fn is_over(&self) -> bool {
        false
    }

    pub fn release(self) {}
}
