//! The page's tables: means of families, the layers, the peers.

use super::super::Report;
use super::super::rank::{Rival, Row};
use super::super::report::number;
use super::super::side_by_side::unranked;
use super::super::summary::{Means, PeerMean};
use super::{escape, section};
use crate::table::three_digits;

/// A ratio this far from 1, either way, fills its half of the column: 4 times.
const FULL_RATIO: f64 = 4.0;

/// Geometric means by family.
pub fn families(report: &Report) -> String {
    let summary = &report.summary;
    let rows = summary.families.iter().map(|(name, means)| family(&escape(name), means, report));
    let all = family("<b>all</b>", &summary.all, report);
    let body = table(&["family", "layers"], report, &rows.chain([all]).collect::<String>());
    section("Families", "Geometric means.", &body)
}

fn family(name: &str, means: &Means, report: &Report) -> String {
    let mut cells = vec![
        format!("<th scope=\"row\">{name}</th>"),
        numeric(&means.rows.to_string()),
        share(means.pct_peak),
        numeric(&number(means.pct_inside, 1)),
    ];
    if report.is_compared {
        cells.extend([ratio(means.best), ratio(means.direct)]);
    }
    format!("<tr>{}</tr>\n", cells.concat())
}

/// Every layer on a line.
pub fn layers(report: &Report) -> String {
    let rows: String = report.rows.iter().map(|row| layer(row, report)).collect();
    let line = if report.is_compared {
        "Ratios to the right of the line: we are faster."
    } else {
        "Medians."
    };
    section("Layers", line, &table(&["layer", "ms"], report, &rows))
}

fn layer(row: &Row, report: &Report) -> String {
    let measured = &row.measured;
    let mut cells = vec![
        format!("<th scope=\"row\">{}</th>", escape(&measured.layer)),
        numeric(&three_digits(measured.ms_median)),
        share(measured.pct_peak),
        numeric(&number(row.pct_inside, 1)),
    ];
    if report.is_compared {
        cells.extend([against(row.best()), against(row.best_direct())]);
    }
    format!("<tr>{}</tr>\n", cells.concat())
}

/// A table of numbers about us: two columns of its own, then the percentages and, in a comparison,
/// the ratios.
fn table(first: &[&str; 2], report: &Report, rows: &str) -> String {
    let [name, second] = first;
    let ratios = if report.is_compared {
        "<th class=\"ratio\">best peer / ours</th><th class=\"ratio\">best direct peer / ours</th>"
    } else {
        ""
    };
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr><th>{name}</th><th class=\"n\">{second}</th><th class=\"share\">% of peak</th>\
         <th class=\"n\">% inside</th>{ratios}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// The peers, each by itself.
pub fn peers(peers: &[PeerMean]) -> String {
    let heads = ["version", "layers ok", "not direct", "call, ms"]
        .map(|head| format!("<th class=\"n\">{head}</th>"));
    let rows: String = peers.iter().map(peer).collect();
    let body = format!(
        "<div class=\"scroll\"><table>\n<thead><tr><th>peer</th>{}<th class=\"ratio\">peer / ours</th><th>not ranked</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n",
        heads.concat()
    );
    let line = "Each over the layers that it does right, so that those which do few may look better than they are. \
                <i>Call</i> is what the peer takes for next to no work.";
    section("Peers", line, &body)
}

fn peer(peer: &PeerMean) -> String {
    let cells = [
        format!("<th scope=\"row\">{}</th>", escape(&peer.peer)),
        numeric(&escape(peer.version.as_deref().unwrap_or("-"))),
        numeric(&peer.ok.to_string()),
        numeric(&peer.saving.to_string()),
        numeric(&number(peer.overhead_ms, 3)),
        ratio(peer.ratio),
        format!("<td class=\"soft\">{}</td>", unranked(peer)),
    ];
    format!("<tr>{}</tr>\n", cells.concat())
}

fn numeric(html: &str) -> String {
    format!("<td class=\"n\">{html}</td>")
}

/// A percentage with its bar.
fn share(percent: Option<f64>) -> String {
    let width = percent.unwrap_or(0.0).clamp(0.0, 100.0);
    format!(
        "<td class=\"share\"><span class=\"n\">{}</span><span class=\"track\"><i style=\"width:{width:.1}%\"></i></span></td>",
        number(percent, 1)
    )
}

fn against(rival: Option<&Rival>) -> String {
    let name = rival.map_or(String::new(), |rival| escape(&rival.line.peer));
    ratio_of(rival.and_then(|rival| rival.ratio), &name)
}

fn ratio(value: Option<f64>) -> String {
    ratio_of(value, "")
}

/// A ratio with a bar to the right where we are faster, to the left where we are slower; lengths
/// are logarithms.
fn ratio_of(value: Option<f64>, name: &str) -> String {
    let Some(value) = value else {
        return "<td class=\"ratio soft\">-</td>".to_owned();
    };
    let half = (50.0 * value.ln().abs() / FULL_RATIO.ln()).min(50.0);
    let (class, left) = if value < 1.0 { ("slower", 50.0 - half) } else { ("faster", 50.0) };
    format!(
        "<td class=\"ratio\"><span class=\"n\">{value:.2}</span><span class=\"swing\"><i class=\"{class}\" style=\"left:{left:.1}%;width:{half:.1}%\">\
         </i></span><span class=\"soft\">{name}</span></td>"
    )
}
