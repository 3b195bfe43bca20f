//! The answer, for people or for programs.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::store::Row;

use super::Format;

/// An entry under the names that docs/ledger.md promises.
#[derive(Debug, Serialize)]
struct Line<'a> {
    number: i64,
    arrived: String,
    known: String,
    took_ms: i64,
    direction: &'a str,
    xmpp: &'a str,
    resource: Option<&'a str>,
    sip: &'a str,
    id: Option<&'a str>,
    thread: Option<&'a str>,
    kind: &'a str,
    octets: i64,
    outcome: &'a str,
    said_by: Option<&'a str>,
    code: Option<&'a str>,
    words: Option<&'a str>,
}

/// Writes entries in one form.
pub(super) struct Printer<'a> {
    format: Format,
    out: &'a mut dyn Write,
    zone: TimeZone,
    /// Widths of the columns so far; they only grow.
    widths: [usize; COLUMNS],
    any: bool,
}

const HEAD: [&str; COLUMNS] = ["arrived", "from -> to", "outcome", "took", "why"];
const COLUMNS: usize = 5;

impl<'a> Printer<'a> {
    pub(super) fn new(format: Format, out: &'a mut dyn Write) -> Self {
        Self {
            format,
            out,
            zone: TimeZone::system(),
            widths: HEAD.map(str::len),
            any: false,
        }
    }

    /// Writes these entries.
    pub(super) fn print(&mut self, rows: &[Row]) -> std::io::Result<()> {
        if rows.is_empty() {
            return self.out.flush();
        }
        match self.format {
            Format::Table => self.table(rows)?,
            Format::Json => self.json(rows)?,
            Format::Csv => self.csv(rows)?,
        }
        self.any = true;
        self.out.flush()
    }

    /// Says so when there was nothing; programs see that without words.
    pub(super) fn finish(&mut self) -> std::io::Result<()> {
        match (self.any, self.format) {
            (false, Format::Table) => writeln!(self.out, "no message in the ledger matches"),
            (false, Format::Csv) => self.csv(&[]),
            _ => Ok(()),
        }
    }

    fn table(&mut self, rows: &[Row]) -> std::io::Result<()> {
        let cells: Vec<[String; COLUMNS]> = rows.iter().map(|row| self.cells(row)).collect();
        for line in &cells {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !self.any {
            self.line(&HEAD.map(str::to_owned))?;
        }
        cells.iter().try_for_each(|line| self.line(line))
    }

    fn line(&mut self, cells: &[String; COLUMNS]) -> std::io::Result<()> {
        let padded: Vec<String> = cells
            .iter()
            .zip(self.widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(self.out, "{}", padded.join("  ").trim_end())
    }

    fn cells(&self, row: &Row) -> [String; COLUMNS] {
        let xmpp = match &row.resource {
            Some(resource) => format!("{}/{resource}", row.xmpp),
            None => row.xmpp.clone(),
        };
        let (from, to) = match row.direction.as_str() {
            "to-sip" => (xmpp.as_str(), row.sip.as_str()),
            _ => (row.sip.as_str(), xmpp.as_str()),
        };
        let words = [&row.code, &row.words]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .filter(|part| !part.is_empty());
        let mut why = words.collect::<Vec<_>>().join(" ");
        if let Some(by) = &row.said_by {
            why.push_str(&format!(" ({by})"));
        }
        let arrived = match Timestamp::from_millisecond(row.arrived) {
            Ok(at) => at
                .to_zoned(self.zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string(),
            Err(_) => row.arrived.to_string(),
        };
        [
            arrived,
            on_one_line(&format!("{from} -> {to}")),
            on_one_line(&row.outcome),
            span(took(row)),
            on_one_line(&why),
        ]
    }

    fn json(&mut self, rows: &[Row]) -> std::io::Result<()> {
        for row in rows {
            let text = serde_json::to_string(&export(row)).map_err(std::io::Error::other)?;
            writeln!(self.out, "{text}")?;
        }
        Ok(())
    }

    fn csv(&mut self, rows: &[Row]) -> std::io::Result<()> {
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(&mut *self.out);
        if !self.any {
            writer.write_record(FIELDS).map_err(csv_error)?;
        }
        for row in rows {
            writer.serialize(export(row)).map_err(csv_error)?;
        }
        writer.flush()
    }
}

/// The names of [`Line`]'s fields, in their order.
const FIELDS: [&str; 16] = [
    "number",
    "arrived",
    "known",
    "took_ms",
    "direction",
    "xmpp",
    "resource",
    "sip",
    "id",
    "thread",
    "kind",
    "octets",
    "outcome",
    "said_by",
    "code",
    "words",
];

/// What the system said stays what it was: a closed pipe is no error of ours.
fn csv_error(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

fn export(row: &Row) -> Line<'_> {
    Line {
        number: row.number,
        arrived: stamp(row.arrived),
        known: stamp(row.known),
        took_ms: took(row),
        direction: &row.direction,
        xmpp: &row.xmpp,
        resource: row.resource.as_deref(),
        sip: &row.sip,
        id: row.id.as_deref(),
        thread: row.thread.as_deref(),
        kind: &row.kind,
        octets: row.octets,
        outcome: &row.outcome,
        said_by: row.said_by.as_deref(),
        code: row.code.as_deref(),
        words: row.words.as_deref(),
    }
}

/// RFC 3339 with milliseconds.
fn stamp(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| format!("{at:.3}"))
}

/// The clock may have been set back in between.
fn took(row: &Row) -> i64 {
    row.known.saturating_sub(row.arrived).max(0)
}

fn span(millis: i64) -> String {
    match millis {
        ..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} min", millis / 60_000),
    }
}

/// What a peer has written must not move the cursor.
fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn row(number: i64, outcome: &str) -> Row {
        Row {
            number,
            arrived: 1_795_608_000_250,
            known: 1_795_608_001_750,
            direction: "to-sip".to_owned(),
            xmpp: "alma@jabber.example".to_owned(),
            resource: Some("desk".to_owned()),
            sip: "sip:bruno@ocs.example".to_owned(),
            id: Some("m,1".to_owned()),
            thread: None,
            kind: "chat".to_owned(),
            octets: 5,
            outcome: outcome.to_owned(),
            said_by: None,
            code: None,
            words: None,
        }
    }

    fn failed() -> Row {
        Row {
            direction: "to-xmpp".to_owned(),
            said_by: Some("device".to_owned()),
            code: Some("not-acceptable".to_owned()),
            words: Some("go\n\u{1b}[2Jaway".to_owned()),
            ..row(8, "failed")
        }
    }

    fn shown(format: Format, rows: &[Row]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, &mut out);
        printer.zone = TimeZone::UTC;
        printer.print(rows).unwrap();
        printer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_is_for_people() {
        let text = shown(Format::Table, &[row(7, "taken"), failed()]);
        let expected = "\
arrived              from -> to                                         outcome  took   why
2026-11-25 12:00:00  alma@jabber.example/desk -> sip:bruno@ocs.example  taken    1.5 s
2026-11-25 12:00:00  sip:bruno@ocs.example -> alma@jabber.example/desk  failed   1.5 s  not-acceptable go  [2Jaway (device)
";
        assert_eq!(text, expected);
        assert_eq!(
            shown(Format::Table, &[]),
            "no message in the ledger matches\n"
        );
    }

    #[test]
    fn programs_get_stable_names() {
        let text = shown(Format::Json, &[row(7, "taken")]);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = line
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let in_order = BTreeSet::from_iter;
        assert_eq!(in_order(names), in_order(FIELDS.to_vec()));
        assert_eq!(line["arrived"], "2026-11-25T12:00:00.250Z");
        assert_eq!(line["took_ms"], 1500);

        let text = shown(Format::Csv, &[row(7, "taken")]);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(FIELDS.join(",").as_str()));
        let values = "7,2026-11-25T12:00:00.250Z,2026-11-25T12:00:01.750Z,1500,to-sip,alma@jabber.example,desk,\
                      sip:bruno@ocs.example,\"m,1\",,chat,5,taken,,,";
        assert_eq!(lines.next(), Some(values));
        assert_eq!(shown(Format::Csv, &[]).lines().count(), 1);
    }
}
