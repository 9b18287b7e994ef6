//! `bench`: how long a model takes.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::args::{Bench, Format, RouteName};
use crate::failure::Failure;
use crate::{inputs, table};

const WARM_UP: Duration = Duration::from_millis(100);
const MIN_RUNS: usize = 5;

pub fn bench(args: &Bench, out: &mut dyn Write) -> Result<(), Failure> {
    let time = Duration::try_from_secs_f64(args.time);
    let time = time.map_err(|_| Failure::usage(format!("--time {} is no time", args.time)))?;
    let model = args.model.load()?;
    let inputs = inputs::of_sizes(&model, &args.sizes)?;
    let inputs = inputs::by_name(&inputs);
    let start = Instant::now();
    while start.elapsed() < WARM_UP {
        model.run(&inputs)?;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < MIN_RUNS || start.elapsed() < time {
        let run = Instant::now();
        model.run(&inputs)?;
        times.push(run.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (least, median) = (times[0], times[times.len() / 2]);
    let file = args.model.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let route = match args.model.route {
        RouteName::Compiled => "compiled",
        RouteName::Tract => "tract",
    };
    let threads = args.model.threads;
    match args.format {
        Format::Json => {
            let object = serde_json::json!({
                "model": file, "route": route, "threads": threads,
                "ms_min": least, "ms_median": median,
            });
            writeln!(out, "{object}")?;
        }
        Format::Table => {
            let words = ["model", "route", "threads", "ms min", "ms median"];
            let head = words.map(str::to_owned).to_vec();
            let digits = table::three_digits;
            let row =
                vec![file, route.to_owned(), threads.to_string(), digits(least), digits(median)];
            write!(out, "{}", table::lined_up(&[2, 3, 4], &[head, row]))?;
        }
    }
    Ok(())
}
