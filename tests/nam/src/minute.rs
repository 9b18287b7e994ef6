//! How far blocks of one minute are apart: what the algorithm does, and what the machine does.
//!
//! The same minute is run several times, and of each block the least of its times is kept: what is
//! late in every round is the algorithm's doing. Beside it stands one round as it was, and a loop
//! that does nothing for as long: what is late there is the machine's.

use crate::{BLOCK, at, times};

/// Does nothing, so many times.
fn idle(turns: u64) {
    (0..turns).for_each(|turn| {
        std::hint::black_box(turn);
    });
}

/// Runs a minute so many times; `begin` goes back to its start, `block` computes one of its blocks.
pub fn report(rounds: usize, median: f64, mut run: impl FnMut(Option<usize>)) {
    const TURNS: u64 = 100_000;
    let turn = at(&times(20, |_| idle(TURNS)), 0.5) / TURNS as f64;
    let turns = (median / turn) as u64;
    let blocks = 60 * 48_000 / BLOCK;
    let (mut least, mut once, mut empty) = (vec![f64::MAX; blocks], Vec::new(), Vec::new());
    for round in 0..rounds {
        run(None);
        for (at, least) in least.iter_mut().enumerate() {
            let time = times(1, |_| run(Some(at)))[0];
            *least = least.min(time);
            if round == 0 {
                once.push(time);
                empty.extend(times(1, |_| idle(turns)));
            }
        }
    }
    let of_rounds = format!("the least of {rounds} rounds");
    for (name, times) in [(&of_rounds[..], least), ("one round", once), ("an empty loop", empty)] {
        let most = [0.99, 0.999, 0.9999, 1.0].map(|part| at(&times, part) / at(&times, 0.5));
        println!(
            "  a minute, {name}: median {:.1} us; 99 %, 99.9 %, 99.99 % and all of {blocks} blocks \
             within {:.2}, {:.2}, {:.2} and {:.2} of it",
            at(&times, 0.5) * 1e6,
            most[0],
            most[1],
            most[2],
            most[3],
        );
    }
}
