//! Charts of reports, as SVG: latency by percentile, and processor time by count of viewers.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::Report;

/// A line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// One axis: from where to where, whether in powers of ten, and where it is labelled.
struct Axis {
    title: &'static str,
    from: f64,
    to: f64,
    is_logarithmic: bool,
    marks: Vec<(f64, String)>,
}

/// Latency by percentile, a line for each report that has some; None when none has.
pub fn latencies(reports: &[Report]) -> Option<String> {
    let lines = reports.iter().filter(|report| report.latency_ms.count > 0).map(|report| Line {
        name: format!("{} {} {}", report.label, report.transport, report.viewers),
        // The distance to one: each further nine is as wide as the last.
        points: report.latency_ms.curve.iter().map(|(part, ms)| (nines(*part), *ms)).collect(),
    });
    let lines: Vec<_> = lines.collect();
    let marks = [
        (0, "0"),
        (500_000, "50 %"),
        (900_000, "90 %"),
        (990_000, "99 %"),
        (999_000, "99.9 %"),
        (999_900, "99.99 %"),
    ];
    let marks = marks.into_iter().map(|(part, name)| (nines(part), name.to_owned())).collect();
    let x = Axis { title: "pictures", from: 0.0, to: 5.0, is_logarithmic: false, marks };
    let y = fitting("latency, ms", &lines, Scale::Logarithmic)?;
    Some(draw("From the sender's stamp to the viewer", &x, &y, &lines))
}

/// Processor time for each gigabyte by count of viewers, a line for each label and transport; None where no report
/// has it.
pub fn costs(reports: &[Report]) -> Option<String> {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for report in reports {
        let Some(cost) = report.server.as_ref().and_then(|server| server.cpu_s_per_gb) else { continue };
        let name = format!("{} {}", report.label, report.transport);
        lines.entry(name).or_default().push((report.viewers as f64, cost));
    }
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(name, mut points)| {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Line { name, points }
        })
        .collect();
    let counts = lines.iter().flat_map(|line| &line.points).map(|point| point.0);
    let most = counts.clone().fold(1.0, f64::max);
    let mut marks: Vec<_> = counts.map(|count| (count, format!("{count}"))).collect();
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    marks.dedup_by(|a, b| a.0 == b.0);
    let x = Axis { title: "viewers", from: 0.0, to: most, is_logarithmic: false, marks };
    let y = fitting("CPU-s for each GB delivered", &lines, Scale::Linear)?;
    Some(draw("Processor time of the server", &x, &y, &lines))
}

/// How many nines a part of a million has.
fn nines(part: u32) -> f64 {
    -(1.0 - f64::from(part) / 1e6).log10()
}

#[derive(PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

/// An axis that holds all values; None when there are none.
fn fitting(title: &'static str, lines: &[Line], scale: Scale) -> Option<Axis> {
    let values = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let most = values.clone().reduce(f64::max)?.max(1e-3);
    if scale == Scale::Logarithmic {
        let least = values.reduce(f64::min)?.max(1e-3);
        let powers = least.log10().floor() as i32..=most.log10().ceil() as i32;
        let marks: Vec<_> =
            powers.map(|power| 10_f64.powi(power)).map(|mark| (mark, format!("{mark}"))).collect();
        let (from, to) = (marks.first()?.0, marks.last()?.0);
        return Some(Axis { title, from, to: to.max(from * 10.0), is_logarithmic: true, marks });
    }
    // A step of 1, 2 or 5 times a power of ten, about five of them.
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| most / step <= 5.0)?;
    let count = (most / step).ceil() as u32;
    let marks: Vec<_> =
        (0..=count).map(|at| f64::from(at) * step).map(|mark| (mark, format!("{mark:.3}"))).collect();
    let marks = marks.into_iter().map(|(mark, text)| (mark, trim(&text))).collect();
    Some(Axis { title, from: 0.0, to: f64::from(count) * step, is_logarithmic: false, marks })
}

fn trim(number: &str) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Axis {
    /// Where a value lies between 0 and 1.
    fn place(&self, value: f64) -> f64 {
        let map = |value: f64| if self.is_logarithmic { value.max(1e-9).log10() } else { value };
        ((map(value) - map(self.from)) / (map(self.to) - map(self.from))).clamp(0.0, 1.0)
    }
}

fn draw(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write_chart(&mut svg, title, x, y, lines);
    svg
}

fn write_chart(out: &mut String, title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> std::fmt::Result {
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    let height = bottom + 60.0 + 18.0 * lines.len() as f64;
    let at = |point: &(f64, f64)| (LEFT + WIDTH * x.place(point.0), bottom - HEIGHT * y.place(point.1));
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">",
        right + 30.0
    )?;
    writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")?;
    writeln!(out, "<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>", escape(title))?;
    for (value, name) in &y.marks {
        let place = at(&(x.from, *value)).1;
        writeln!(out, "<path d=\"M{LEFT} {place:.1}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 6.0,
            place + 4.0
        )?;
    }
    for (value, name) in &x.marks {
        let place = at(&(*value, y.from)).0;
        writeln!(out, "<path d=\"M{place:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>")?;
        writeln!(out, "<text x=\"{place:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", bottom + 16.0)?;
    }
    writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", right, bottom + 34.0, x.title)?;
    writeln!(out, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", TOP - 8.0, y.title)?;
    for (index, line) in lines.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let points: Vec<_> = line.points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            points.join(" ")
        )?;
        let place = bottom + 52.0 + 18.0 * index as f64;
        writeln!(out, "<path d=\"M{LEFT} {place}h24\" stroke=\"{color}\" stroke-width=\"2\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", LEFT + 32.0, place + 4.0, escape(&line.name))?;
    }
    writeln!(out, "</svg>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const LEFT: f64 = 60.0;
const TOP: f64 = 50.0;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;

/// Told apart also by those who do not see all colours (Okabe and Ito).
const COLORS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Percentiles, Server};

    fn report(label: &str, viewers: usize, cost: f64) -> Report {
        let curve = vec![(0, 0.2), (500_000, 1.0), (990_000, 20.0)];
        Report {
            label: label.into(),
            transport: "tcp".into(),
            viewers,
            latency_ms: Percentiles { count: 3, curve, ..Percentiles::default() },
            server: Some(Server { cpu_s_per_gb: Some(cost), ..Server::default() }),
            ..Report::default()
        }
    }

    #[test]
    fn every_report_has_its_line() {
        let reports = [report("a<b", 100, 0.7), report("a<b", 600, 0.6), report("bare", 100, 0.5)];
        let latencies = latencies(&reports).unwrap();
        assert_eq!(latencies.matches("<polyline").count(), 3);
        assert!(latencies.contains("a&lt;b tcp 600") && latencies.contains(">99 %<"));
        let costs = costs(&reports).unwrap();
        assert_eq!(costs.matches("<polyline").count(), 2);
        assert!(costs.contains(">600<") && costs.contains(">0.2<"));
        assert!(costs.starts_with("<svg") && costs.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn without_figures_there_is_no_chart() {
        assert!(latencies(&[Report::default()]).is_none());
        assert!(costs(&[Report::default()]).is_none());
    }
}
