//! The table of a comparison: our time beside the best peers', the means, and each peer by itself.

use crate::table::{Side, lined_up};

use super::peers::Status;
use super::rank::{Rival, Row};
use super::report::number;
use super::summary::{Means, PeerMean, Summary};

const HEADS: [&str; 10] = [
    "layer",
    "ms median",
    "% of peak",
    "% inside",
    "best peer",
    "ms",
    "ratio",
    "best direct",
    "ms",
    "ratio",
];
const SIDES: [Side; 10] = [
    Side::Left,
    Side::Right,
    Side::Right,
    Side::Right,
    Side::Left,
    Side::Right,
    Side::Right,
    Side::Left,
    Side::Right,
    Side::Right,
];

/// Why some right results are not ranked.
pub const OTHER_JOB: &str = "another job: a layout of its own";

/// Everything below the heading.
pub fn table(rows: &[Row], summary: &Summary, remarks: &[String]) -> String {
    let mut lines = vec![HEADS.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(row));
    lines.push(Vec::new());
    lines.push(vec!["geometric means".to_owned()]);
    if summary.families.len() > 1 {
        lines.extend(summary.families.iter().map(|(name, means)| mean_row(name, means)));
    }
    lines.push(mean_row("all", &summary.all));
    let sections =
        [lined_up(&SIDES, &lines), verdict(summary), peers(&summary.peers), notes(remarks)];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn row(row: &Row) -> Vec<String> {
    let ours = [
        row.measured.layer.clone(),
        format!("{:.3}", row.measured.ms_median),
        number(row.measured.pct_peak, 1),
        number(row.pct_inside, 1),
    ];
    [&ours[..], &rival(row.best()), &rival(row.best_direct())].concat()
}

fn rival(rival: Option<&Rival>) -> [String; 3] {
    [
        rival.map_or("-".to_owned(), |rival| rival.line.peer.clone()),
        number(rival.and_then(|rival| rival.line.ms_median), 3),
        number(rival.and_then(|rival| rival.ratio), 2),
    ]
}

fn mean_row(name: &str, means: &Means) -> Vec<String> {
    let blank = String::new;
    vec![
        format!("  {name} ({})", means.rows),
        blank(),
        number(means.pct_peak, 1),
        number(means.pct_inside, 1),
        blank(),
        blank(),
        number(means.best, 2),
        blank(),
        blank(),
        number(means.direct, 2),
    ]
}

fn verdict(summary: &Summary) -> String {
    let Some((layer, rival)) = &summary.worst else {
        return "no row has a direct peer\n".to_owned();
    };
    format!(
        "slower than the best direct peer: {} of {} rows\nworst row against a direct peer:  {layer}, {} of the speed of {}\n",
        summary.slower,
        summary.with_direct,
        number(rival.ratio, 2),
        rival.line.peer
    )
}

fn peers(peers: &[PeerMean]) -> String {
    if peers.is_empty() {
        return String::new();
    }
    let heads = ["peer", "version", "rows ok", "ratio", "not ranked"];
    let sides = [Side::Left, Side::Left, Side::Right, Side::Right, Side::Left];
    let row = |peer: &PeerMean| {
        vec![
            peer.peer.clone(),
            peer.version.clone().unwrap_or("-".to_owned()),
            peer.ok.to_string(),
            number(peer.ratio, 2),
            unranked(peer),
        ]
    };
    let rows: Vec<Vec<String>> =
        [heads.map(str::to_owned).to_vec()].into_iter().chain(peers.iter().map(row)).collect();
    lined_up(&sides, &rows)
}

/// Why a peer is not ranked: everywhere, or on how many rows.
pub fn unranked(peer: &PeerMean) -> String {
    let job = (!peer.is_ranked).then(|| OTHER_JOB.to_owned());
    let count = |(status, count): &(Status, usize)| format!("{count} {}", status.word());
    job.into_iter().chain(peer.failed.iter().map(count)).collect::<Vec<_>>().join(", ")
}

fn notes(remarks: &[String]) -> String {
    remarks.iter().map(|remark| format!("note: {remark}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_comparison() {
        let rows = samples::rows();
        let remarks = ["3 things".to_owned()];
        insta::assert_snapshot!(table(&rows, &Summary::new(&rows), &remarks));
    }

    #[test]
    fn without_results_there_is_still_a_table() {
        let rows = [samples::rows().remove(4)];
        insta::assert_snapshot!(table(&rows, &Summary::new(&rows), &[]));
    }
}
