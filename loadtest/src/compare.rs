//! Two reports beside each other.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// All numbers that both reports have, with how much the second differs; those that do not differ are left out.
pub fn table(before: &Value, after: &Value) -> String {
    let (before, after) = (numbers(before), numbers(after));
    let mut text = format!("{:<44} {:>14} {:>14} {:>9}\n", "", "A", "B", "B to A");
    for (name, a) in &before {
        let Some(b) = after.get(name).filter(|b| *b != a) else { continue };
        let change = if *a == 0.0 { String::new() } else { format!("{:+.1} %", 100.0 * (b - a) / a) };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<44} {a:>14.3} {b:>14.3} {change:>9}");
    }
    for (place, names) in [("A", &before), ("B", &after)] {
        let other = if place == "A" { &after } else { &before };
        let alone: Vec<_> =
            names.keys().filter(|name| !other.contains_key(*name)).map(String::as_str).collect();
        if !alone.is_empty() {
            let _ = writeln!(text, "only in {place}: {}", alone.join(", "));
        }
    }
    text
}

/// Numbers by the names that lead to them, points of curves excepted.
fn numbers(report: &Value) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    collect(report, "", &mut found);
    found
}

fn collect(value: &Value, name: &str, found: &mut BTreeMap<String, f64>) {
    let inner = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Number(number) => {
            found.insert(name.to_owned(), number.as_f64().unwrap_or(f64::NAN));
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(part, _)| *part != "curve");
            fields.for_each(|(part, value)| collect(value, &inner(part), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(item, &inner(&at.to_string()), found));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_stands_side_by_side() {
        let a = json!({"x": 2, "same": 7, "p": {"p99": 10.0, "curve": [[1, 2]]}, "list": [1, 0], "gone": 3});
        let b = json!({"x": 3, "same": 7, "p": {"p99": 5.0, "curve": [[1, 9]]}, "list": [1, 4], "text": "t"});
        let table = table(&a, &b);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["list.1", "0.000", "4.000"]);
        assert_eq!(rows[2], ["p.p99", "10.000", "5.000", "-50.0", "%"]);
        assert_eq!(rows[3], ["x", "2.000", "3.000", "+50.0", "%"]);
        assert_eq!(rows[4], ["only", "in", "A:", "gone"]);
        assert_eq!(rows.len(), 5);
    }
}
