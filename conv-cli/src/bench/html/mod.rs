//! The report as one HTML file that needs no other: text, inline CSS, bars that are boxes with a
//! width. No script.
//!
//! In: a [`Report`]. Out: the page. Headline numbers come first, then families, then layers, so
//! that a reader can stop anywhere. Bars of families are speeds (longer is faster, ours is 1); bars
//! of layers are times (shorter is faster). Whatever is not ours is text from a file, and goes
//! through [`escape`]; a function that takes or gives HTML says so.

mod bars;
mod tables;

use super::Report;
use super::report::number;
use super::summary::Summary;

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(report: &Report) -> String {
    let mut sections = vec![header(report), tables::families(report)];
    if report.is_compared {
        sections.push(bars::families(report));
    }
    sections.push(tables::layers(report));
    if report.is_compared {
        sections.push(bars::layers(report));
        sections.push(tables::peers(&report.summary.peers));
    }
    sections.push(notes(report));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Convolutions, layer by layer</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        sections.concat()
    )
}

/// Text as HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// A part of the page with its heading and a line below it; all HTML.
fn section(heading: &str, line: &str, body: &str) -> String {
    format!("<section>\n<h2>{heading}</h2>\n<p class=\"soft\">{line}</p>\n{body}</section>\n")
}

fn header(report: &Report) -> String {
    let cpu = report.cpu.as_deref().map_or(String::new(), |cpu| format!("{}; ", escape(cpu)));
    let layers = report.rows.len();
    let of = if layers == 1 { "layer" } else { "layers" };
    format!(
        "<header>\n<h1>Convolutions, layer by layer</h1>\n<p class=\"soft\">{cpu}{}; {layers} {of}, f32, channels first, warm caches</p>\n\
         <div class=\"tiles\">\n{}</div>\n</header>\n",
        escape(&report.heading),
        tiles(report)
    )
}

fn tiles(report: &Report) -> String {
    let all = &report.summary.all;
    let percent = |value| format!("{} %", number(value, 0));
    let mut tiles = vec![
        tile(&percent(all.pct_peak), "of the peak", "geometric mean"),
        tile(&percent(all.pct_inside), "of the peak, inside the image", "padding not counted"),
    ];
    if report.is_compared {
        tiles.splice(0..0, compared_tiles(&report.summary));
    }
    tiles.concat()
}

fn compared_tiles(summary: &Summary) -> Vec<String> {
    let times = |value| format!("{}×", number(value, 2));
    let all = &summary.all;
    let slower = format!("{} of {}", summary.slower, summary.with_direct);
    let mut tiles = vec![
        tile(&times(all.direct), "the best direct peer’s speed", "geometric mean"),
        tile(&times(all.best), "the best peer’s speed", "geometric mean"),
        tile(&slower, "layers slower", "than the best direct peer"),
    ];
    if let Some((layer, rival)) = &summary.worst {
        let against = format!("against {}, the worst", escape(&rival.line.peer));
        tiles.push(tile(&times(rival.ratio), &escape(layer), &against));
    }
    tiles
}

/// A number and what it is; all HTML.
fn tile(value: &str, what: &str, how: &str) -> String {
    format!(
        "<div class=\"tile\"><b>{value}</b><span>{what}</span><span class=\"soft\">{how}</span></div>\n"
    )
}

fn notes(report: &Report) -> String {
    let always = [
        "Times are medians. The peak is the rate of the widest fused multiply-adds that one core can do without memory, measured in the same run, times the threads.",
        "Percent of the peak counts the direct algorithm’s work, two operations per multiply-add, padding included; <i>inside</i> counts only multiplications inside the image.",
    ];
    let compared = [
        "A ratio is the peer’s time over ours: above 1, we are faster. Means are geometric, over the layers that have the number.",
        "Only a right result (status <i>ok</i>) is ranked. litert-nhwc and onednn-blocked are not: they choose the layout of their arrays, which is another job.",
        "A <i>direct</i> peer makes every multiplication. Not direct is a result above 102 % of the peak <i>inside</i>; nor ncnn and mnn on dense 3x3 windows \
         (2-D, stride 1, dilation 1, one group), where they are known to use Winograd’s algorithm.",
    ];
    let rules = always
        .iter()
        .chain(compared.iter().filter(|_| report.is_compared))
        .map(|rule| (*rule).to_owned());
    let remarks = report.remarks.iter().map(|remark| escape(remark));
    let items: String = remarks.chain(rules).map(|item| format!("<li>{item}</li>\n")).collect();
    format!("<section>\n<h2>Notes</h2>\n<ul class=\"notes\">\n{items}</ul>\n</section>\n")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn report(is_compared: bool) -> Report {
        let mut rows = samples::rows();
        if !is_compared {
            rows.iter_mut().for_each(|row| row.rivals.clear());
        }
        Report {
            heading: "1 thread; one core's peak is 100.0 GFLOP/s with 256-bit multiply-adds"
                .to_owned(),
            cpu: Some("A <made-up> CPU".to_owned()),
            is_compared,
            summary: Summary::new(&rows),
            remarks: if is_compared {
                vec!["rows without a ranked peer: 1".to_owned()]
            } else {
                Vec::new()
            },
            rows,
        }
    }

    #[test]
    fn a_comparison() {
        insta::assert_snapshot!(page(&report(true)));
    }

    #[test]
    fn ours_alone() {
        insta::assert_snapshot!(page(&report(false)));
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a b='c'>&\"d\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;d&quot;");
        let page = page(&report(true));
        assert!(
            page.contains("jax&lt;&amp;&gt;")
                && !page.contains("jax<")
                && !page.contains("<made-up>")
        );
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&report(true));
        for word in ["http", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
        for tag in [
            "div", "section", "table", "tr", "td", "th", "span", "p", "ul", "li", "main", "article",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
