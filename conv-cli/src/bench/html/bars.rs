//! The page's bar charts: a card per family, a card per layer, a bar per library.

use super::super::Report;
use super::super::peers::Status;
use super::super::rank::{Rival, Row, Standing};
use super::super::report::number;
use super::super::side_by_side::OTHER_JOB;
use super::super::summary::{Means, mean, of_family};
use super::{escape, section};
use crate::table::three_digits;

/// How many times the longer of our bar and the best peer's a bar may be before it is cut: the fast
/// ones are what one looks at.
const CUT: f64 = 3.0;

/// One bar; texts are HTML.
struct Bar {
    class: &'static str,
    name: String,
    value: f64,
    text: String,
    title: String,
}

const LEGEND: &str = "<p class=\"legend\"><span class=\"ours\"><i></i>convc</span><span class=\"lead\"><i></i>best direct peer</span>\
                      <span class=\"peer\"><i></i>other peers</span><span class=\"saving\"><i></i>saves multiplications</span>\
                      <span class=\"apart\"><i></i>not ranked</span></p>\n";

/// Speeds by family.
pub fn families(report: &Report) -> String {
    let card = |(name, means): &(String, Means)| {
        let bars = speeds(means, &of_family(&report.rows, name));
        let layers =
            if means.rows == 1 { "1 layer".to_owned() } else { format!("{} layers", means.rows) };
        card(&escape(name), &layers, &bars, "")
    };
    let cards: String = report.summary.families.iter().map(card).collect();
    let line = "Speed relative to ours, geometric mean over the layers that both do: longer is faster, ours is 1. \
                The best peers are the best of each layer.";
    section(
        "Speed by family",
        line,
        &format!("{LEGEND}<div class=\"cards speeds\">\n{cards}</div>\n"),
    )
}

fn speeds(means: &Means, rows: &[&Row]) -> Vec<Bar> {
    let bar = |class: &'static str, name: &str, ratio: f64| Bar {
        class,
        name: name.to_owned(),
        value: 1.0 / ratio,
        text: format!("<b>{:.2}</b>", 1.0 / ratio),
        title: String::new(),
    };
    let mut best = vec![bar("ours", "convc", 1.0)];
    best.extend(means.direct.map(|ratio| bar("lead", "best direct", ratio)));
    best.extend(means.best.map(|ratio| bar("peer", "best of all", ratio)));
    let mut names: Vec<&str> = ranked(rows).map(|rival| rival.line.peer.as_str()).collect();
    names.sort();
    names.dedup();
    let mut others: Vec<Bar> = names.into_iter().filter_map(|name| speed_of(name, rows)).collect();
    others.sort_by(|a, b| b.value.total_cmp(&a.value));
    best.into_iter().chain(others).collect()
}

fn ranked<'a>(rows: &'a [&Row]) -> impl Iterator<Item = &'a Rival> {
    rows.iter().flat_map(|row| &row.rivals).filter(|rival| rival.is_ranked())
}

fn speed_of(name: &str, rows: &[&Row]) -> Option<Bar> {
    let of_peer: Vec<&Rival> = ranked(rows).filter(|rival| rival.line.peer == name).collect();
    let ratio = mean(of_peer.iter().map(|rival| rival.ratio))?;
    let saves = of_peer.iter().any(|rival| rival.standing == Standing::Saving);
    let some = if of_peer.len() < rows.len() {
        format!(" <span class=\"soft\">{} of {}</span>", of_peer.len(), rows.len())
    } else {
        String::new()
    };
    Some(Bar {
        class: if saves { "saving" } else { "peer" },
        name: escape(name) + &some,
        value: 1.0 / ratio,
        text: format!("{:.2}", 1.0 / ratio),
        title: String::new(),
    })
}

/// Times by layer.
pub fn layers(report: &Report) -> String {
    let by_family = |(name, _): &(String, Means)| {
        let cards: String = of_family(&report.rows, name).into_iter().map(layer).collect();
        format!("<h3>{}</h3>\n<div class=\"cards\">\n{cards}</div>\n", escape(name))
    };
    let body: String = report.summary.families.iter().map(by_family).collect();
    let line =
        "Milliseconds, and the ratio to ours: shorter is faster. Bars with a faded end go on.";
    section("Every layer, every peer", line, &(LEGEND.to_owned() + &body))
}

fn layer(row: &Row) -> String {
    let lead = row.best_direct().map(|rival| rival.line.peer.as_str());
    let timed = row.rivals.iter().filter_map(|rival| peer(rival, lead));
    let mut bars: Vec<Bar> = [ours(row)].into_iter().chain(timed).collect();
    bars.sort_by(|a, b| a.value.total_cmp(&b.value));
    let of_peak = format!("{} % of peak", number(row.measured.pct_peak, 0));
    card(&escape(&row.measured.layer), &of_peak, &bars, &untimed(row))
}

fn ours(row: &Row) -> Bar {
    let measured = &row.measured;
    Bar {
        class: "ours",
        name: "convc".to_owned(),
        value: measured.ms_median,
        text: format!("{} <b>1.00</b>", three_digits(measured.ms_median)),
        title: format!(
            "fastest run {} ms; {}",
            three_digits(measured.ms_min),
            escape(&measured.schedule)
        ),
    }
}

fn peer(rival: &Rival, lead: Option<&str>) -> Option<Bar> {
    let line = &rival.line;
    let (class, mark) = match rival.standing {
        Standing::Direct if lead == Some(line.peer.as_str()) => ("lead", ""),
        Standing::Direct => ("peer", ""),
        Standing::Saving => ("saving", ""),
        Standing::OtherJob => ("apart", ""),
        Standing::Failed(status) => ("apart", status.word()),
    };
    let mark = if mark.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"soft\">{mark}</span>")
    };
    Some(Bar {
        class,
        name: escape(&line.peer) + &mark,
        value: line.ms_median?,
        text: format!("{} <b>{:.2}</b>", three_digits(line.ms_median?), rival.ratio?),
        title: title(rival),
    })
}

/// What one sees when the pointer rests on a bar.
fn title(rival: &Rival) -> String {
    let line = &rival.line;
    let other_job = rival.standing == Standing::OtherJob;
    let parts = [
        other_job.then(|| OTHER_JOB.to_owned()),
        line.version.as_deref().map(|version| format!("version {}", escape(version))),
        line.ms_min.map(|ms| format!("fastest run {} ms", three_digits(ms))),
        line.error.map(|error| format!("largest error {error:.1e}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Those without a time, by status.
fn untimed(row: &Row) -> String {
    let mut all: Vec<(Status, &str)> = row
        .rivals
        .iter()
        .filter(|rival| rival.line.ms_median.is_none())
        .map(|rival| (rival.line.status, rival.line.peer.as_str()))
        .collect();
    all.sort();
    let group = |group: &[(Status, &str)]| {
        let names: Vec<String> = group.iter().map(|(_, name)| escape(name)).collect();
        format!("<p class=\"soft\">{}: {}</p>\n", group[0].0.word(), names.join(", "))
    };
    all.chunk_by(|a, b| a.0 == b.0).map(group).collect()
}

/// A heading, a remark beside it, bars, and what stands below them; texts are HTML.
fn card(heading: &str, beside: &str, bars: &[Bar], below: &str) -> String {
    let full = full(bars);
    let bars: String = bars.iter().map(|bar| drawn(bar, full)).collect();
    format!(
        "<article class=\"card\">\n<h4>{heading} <span class=\"soft\">{beside}</span></h4>\n{bars}{below}</article>\n"
    )
}

/// The value that fills the width: the largest, unless it would dwarf ours and the best.
fn full(bars: &[Bar]) -> f64 {
    let largest = |of: &mut dyn Iterator<Item = &Bar>| of.map(|bar| bar.value).fold(0.0, f64::max);
    let seen = largest(&mut bars.iter().filter(|bar| matches!(bar.class, "ours" | "lead")));
    largest(&mut bars.iter()).min(CUT * seen)
}

fn drawn(bar: &Bar, full: f64) -> String {
    let width = (100.0 * bar.value / full).clamp(0.0, 100.0);
    let torn = if bar.value > full { " torn" } else { "" };
    let Bar { class, name, text, title, .. } = bar;
    format!(
        "<div class=\"bar {class}{torn}\" title=\"{title}\"><span>{name}</span><span class=\"track\"><i style=\"width:{width:.1}%\"></i></span>\
         <span class=\"n\">{text}</span></div>\n"
    )
}
