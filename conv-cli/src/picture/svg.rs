//! Writing SVG: shapes with classes, and a style sheet for light and dark pages. Numbers have two
//! decimals at most, so that files are small and the same everywhere.

use std::fmt::Write;

/// A point on the page.
pub type Point = (f64, f64);

/// A picture that grows as it is drawn.
#[derive(Default)]
pub struct Svg {
    body: String,
    /// What has been drawn on: left, top, right, bottom.
    bounds: Option<[f64; 4]>,
}

/// Beside what is drawn.
const MARGIN: f64 = 18.0;

impl Svg {
    /// Closed shapes, all in one element.
    pub fn shapes(&mut self, class: &str, colour: Option<&str>, shapes: &[Vec<Point>]) {
        self.path(class, colour, shapes, "Z");
    }

    /// Open lines, all in one element.
    pub fn lines(&mut self, class: &str, colour: Option<&str>, lines: &[Vec<Point>]) {
        self.path(class, colour, lines, "");
    }

    fn path(&mut self, class: &str, colour: Option<&str>, parts: &[Vec<Point>], end: &str) {
        if parts.is_empty() {
            return;
        }
        let mut data = String::new();
        for part in parts {
            for (at, &(x, y)) in part.iter().enumerate() {
                self.cover(x, y);
                let _ =
                    write!(data, "{}{} {}", if at == 0 { "M" } else { "L" }, number(x), number(y));
            }
            data += end;
        }
        let style = colour.map_or(String::new(), |colour| format!(" style=\"--c:{colour}\""));
        let _ = writeln!(self.body, "<path class=\"{class}\"{style} d=\"{data}\"/>");
    }

    /// A line of text that starts, ends or has its middle at a point, as its class says.
    pub fn text(&mut self, class: &str, (x, y): Point, text: &str) {
        // Wide enough for every font: figures and letters are about half as wide as they are high.
        let width = text.chars().count() as f64 * if class.contains("title") { 9.2 } else { 7.1 };
        let left = match class {
            _ if class.contains("middle") => x - width / 2.0,
            _ if class.contains("end") => x - width,
            _ => x,
        };
        self.cover(left, y - 12.0);
        self.cover(left + width, y + 4.0);
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
            number(x),
            number(y),
            escape(text)
        );
    }

    fn cover(&mut self, x: f64, y: f64) {
        let [left, top, right, bottom] = self.bounds.unwrap_or([x, y, x, y]);
        self.bounds = Some([left.min(x), top.min(y), right.max(x), bottom.max(y)]);
    }

    /// What is covered so far: left, top, right, bottom.
    pub fn bounds(&self) -> [f64; 4] {
        self.bounds.unwrap_or_default()
    }

    /// The whole file. The title is for those who cannot see it, and for pointers that rest on it.
    pub fn finish(self, title: &str) -> String {
        let [left, top, right, bottom] = self.bounds();
        let (left, top) = ((left - MARGIN).floor(), (top - MARGIN).floor());
        let (width, height) = ((right + MARGIN).ceil() - left, (bottom + MARGIN).ceil() - top);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{} {} {} {}\" width=\"{}\" height=\"{}\" role=\"img\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n{}</svg>\n",
            number(left),
            number(top),
            number(width),
            number(height),
            number(width),
            number(height),
            escape(title),
            number(left),
            number(top),
            number(width),
            number(height),
            self.body
        )
    }
}

/// Colours of a page that is light, and of one that is dark. `--c` is a shape's own colour.
const STYLE: &str = "
svg{--paper:#fff;--ink:#1f2328;--soft:#59636e;--line:#aeb8c2;--cell:#f3f6f9;--c:#3b82f6;\
font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:13px}
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#f0f6fc;--soft:#9aa5b1;--line:#4d5864;--cell:#1c232b}}
.paper{fill:var(--paper)}
text{fill:var(--soft)}
.title{fill:var(--ink);font-size:15px;font-weight:600}
.name{fill:var(--ink);font-weight:600}
.middle{text-anchor:middle}
.end{text-anchor:end}
.c{fill:var(--c)}
path{stroke-linejoin:round;fill:none}
.plane{fill:var(--cell);stroke:var(--line)}
.ground{fill:var(--cell)}
.grid{stroke:var(--line)}
.empty{stroke:var(--line);stroke-dasharray:2 3}
.mark{fill:var(--c);fill-opacity:.82;stroke:var(--cell);stroke-width:1.2}
.pad{fill:var(--c);fill-opacity:.16;stroke:var(--c);stroke-dasharray:2 2}
.frame{stroke:var(--c);stroke-width:2}
.face{fill:var(--c);fill-opacity:.055}
.ray{stroke:var(--c);stroke-opacity:.55}
.solid{fill:var(--c);fill-opacity:.2;stroke:var(--c);stroke-width:1.2}
.tint{fill:var(--c);fill-opacity:.4;stroke:var(--c)}
.wire{stroke:var(--line);stroke-opacity:.45}
.arrow{stroke:var(--soft);stroke-width:1.5}
";

/// With two decimals at most, and no zero that has a sign.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [1.0, 0.5, -0.001, 2.0 / 3.0, 100.0].map(number),
            ["1", "0.5", "0", "0.67", "100"]
        );
    }

    #[test]
    fn a_picture_has_room_for_what_is_in_it() {
        let mut svg = Svg::default();
        svg.shapes("mark", Some("#123456"), &[vec![(0.0, 0.0), (10.0, 0.0), (10.0, 5.5)]]);
        let text = svg.finish("a < b");
        assert!(text.contains("viewBox=\"-18 -18 46 42\""), "{text}");
        assert!(
            text.contains("<title>a &lt; b</title>") && text.contains("d=\"M0 0L10 0L10 5.5Z\""),
            "{text}"
        );
    }
}
