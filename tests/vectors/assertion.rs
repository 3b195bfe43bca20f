//! Assertion objects: paths with literals or operators, held against one message.

use serde_json::{Map, Value};

use crate::msrp_text::MsrpText;
use crate::operators::{self, Context, equal};
use crate::output::{Output, Sent};
use crate::sip_text::SipText;
use crate::{msrp_path, pidf, sip_path, stanza_path};

/// Everything sent, and where the part begins that the vector is about.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) outputs: &'a [Output],
    /// Index of the first output after the precondition.
    pub(crate) mark: usize,
    /// One past the last output that counts.
    pub(crate) end: usize,
    /// Full addresses that the vector has named.
    pub(crate) known: &'a [String],
}

impl<'a> Scene<'a> {
    /// The outputs that the vector is about.
    pub(crate) fn window(&self) -> &'a [Output] {
        self.outputs.get(self.mark..self.end).unwrap_or_default()
    }

    fn index_of(&self, output: &Output) -> usize {
        let place = self
            .outputs
            .iter()
            .position(|other| std::ptr::eq(other, output));
        place.unwrap_or(self.outputs.len())
    }

    /// The last SIP request before the vector's part, else the one before this output.
    fn previous(&self, output: &Output) -> Option<&'a SipText> {
        let before = |end: usize| {
            let earlier = self.outputs.get(..end).unwrap_or_default();
            earlier.iter().rev().find_map(Output::request)
        };
        before(self.mark).or_else(|| before(self.index_of(output)))
    }

    fn context(&self, output: &Output, path: &str) -> Context {
        let requests = || self.outputs.iter().filter_map(Output::request);
        let stanzas = || self.window().iter().filter_map(Output::stanza);
        Context {
            previous: self
                .previous(output)
                .and_then(|sip| sip_path::lookup(sip, path).ok().flatten()),
            status: output.sip().and_then(SipText::status),
            asks_receipt: output.stanza().is_some_and(|stanza| {
                matches!(stanza_path::lookup(stanza, "receipt_request"), Ok(Some(_)))
            }),
            senders: stanzas()
                .filter(|stanza| stanza.name() == "presence")
                .filter_map(|stanza| stanza.attr("from").map(str::to_owned))
                .collect(),
            known: self.known.to_vec(),
            numbers: requests()
                .map(|sip| {
                    let number = sip.cseq_number().unwrap_or_default();
                    (sip.method().to_owned(), number.to_owned())
                })
                .collect(),
        }
    }
}

/// What an assertion is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Sip,
    Msrp,
    Stanza,
}

/// Methods of MSRP.
const MSRP_METHODS: [&str; 2] = ["SEND", "REPORT"];

/// What the assertion is about, judged by its paths.
pub(crate) fn subject(assertion: &Map<String, Value>) -> Subject {
    let method = assertion.get("method").and_then(Value::as_str);
    let by_method = method.is_some_and(|method| MSRP_METHODS.contains(&method));
    if by_method || assertion.keys().any(|path| msrp_path::is_own(path)) {
        return Subject::Msrp;
    }
    match is_about_stanza(assertion) {
        true => Subject::Stanza,
        false => Subject::Sip,
    }
}

fn is_about_stanza(assertion: &Map<String, Value>) -> bool {
    let sip = ["method", "status", "request_uri", "reason"];
    let named = |key: &String| {
        key.starts_with('@') || key == "stanza" || key == "chatstate" || key == "received.id"
    };
    assertion.keys().any(named)
        && !assertion
            .keys()
            .any(|key| sip.contains(&key.as_str()) && key != "status")
}

/// Holds an assertion against one output.
///
/// # Errors
/// The first path that does not hold.
pub(crate) fn holds(
    assertion: &Map<String, Value>,
    output: &Output,
    scene: &Scene<'_>,
) -> Result<(), String> {
    for (path, wanted) in assertion {
        entry(path, wanted, output, scene).map_err(|why| format!("{path}: {why}"))?;
    }
    Ok(())
}

fn entry(path: &str, wanted: &Value, output: &Output, scene: &Scene<'_>) -> Result<(), String> {
    match (path, &output.what) {
        // A limit of time, which the caller keeps.
        ("within_s", _) => Ok(()),
        ("one_of_groups", _) => one_of_groups(wanted, output, scene),
        ("raw_header_names_exclude", Sent::Sip(sip)) => excludes_headers(wanted, sip),
        ("no_sip_request_emitted", _) => {
            let sent = |sip: &SipText| Some(sip.method()) == wanted.as_str();
            match scene
                .window()
                .iter()
                .filter_map(Output::request)
                .find(|sip| sent(sip))
            {
                Some(sip) => Err(format!("{} was sent", sip.start)),
                None => Ok(()),
            }
        }
        ("pidf.any_basic", Sent::Sip(sip)) => {
            let found = sip_path::lookup(sip, path)?;
            let basics = found.as_ref().and_then(Value::as_array);
            check(
                basics.is_some_and(|basics| basics.contains(wanted)),
                wanted,
                found.as_ref(),
            )
        }
        ("pidf.all_basic", Sent::Sip(sip)) => {
            let found = sip_path::lookup(sip, path)?;
            let basics = found.as_ref().and_then(Value::as_array);
            let all = basics.is_some_and(|basics| basics.iter().all(|basic| basic == wanted));
            check(all, wanted, found.as_ref())
        }
        ("pidf.tuple_set", Sent::Sip(sip)) => tuple_set(wanted, sip),
        ("pidf.tuple_for", Sent::Sip(sip)) => tuple_for(wanted, sip),
        (_, Sent::Sip(sip)) => {
            let found = sip_path::lookup(sip, path)?;
            value(path, wanted, found.as_ref(), &scene.context(output, path))
        }
        (_, Sent::Msrp(msrp)) => {
            let found = msrp_path::lookup(msrp, path)?;
            value(path, wanted, found.as_ref(), &scene.context(output, path))
        }
        (_, Sent::Stanza(stanza)) => {
            let found = stanza_path::lookup(stanza, path)?;
            value(path, wanted, found.as_ref(), &scene.context(output, path))
        }
    }
}

fn check(holds: bool, wanted: &Value, found: Option<&Value>) -> Result<(), String> {
    if holds {
        return Ok(());
    }
    let found = found.map_or("nothing".to_owned(), Value::to_string);
    Err(format!("wanted {wanted}, found {found}"))
}

/// A literal, an operator object, or (for `@lang` paths) texts by language.
pub(crate) fn value(
    path: &str,
    wanted: &Value,
    found: Option<&Value>,
    context: &Context,
) -> Result<(), String> {
    match wanted {
        Value::Null => check(found.is_none(), wanted, found),
        Value::Object(by_language) if path.ends_with("@lang") => {
            let found_texts = found.and_then(Value::as_object);
            let same = by_language
                .iter()
                .all(|(lang, text)| found_texts.and_then(|texts| texts.get(lang)) == Some(text));
            check(same, wanted, found)
        }
        Value::Object(operators) => operators::all(operators, found, context),
        literal => check(
            found.is_some_and(|found| equal(found, literal)),
            wanted,
            found,
        ),
    }
}

fn one_of_groups(wanted: &Value, output: &Output, scene: &Scene<'_>) -> Result<(), String> {
    let groups = wanted.as_array().into_iter().flatten();
    let mut reasons = Vec::new();
    for group in groups {
        match holds(object(group)?, output, scene) {
            Ok(()) => return Ok(()),
            Err(why) => reasons.push(why),
        }
    }
    Err(format!("no group holds: {}", reasons.join("; ")))
}

fn excludes_headers(wanted: &Value, sip: &SipText) -> Result<(), String> {
    let excluded: Vec<&str> = wanted
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let has = |name: &&str| {
        sip.headers
            .iter()
            .any(|(have, _)| have.eq_ignore_ascii_case(name))
    };
    match excluded.into_iter().find(has) {
        Some(name) => Err(format!("there is a header {name}")),
        None => Ok(()),
    }
}

/// Each wanted tuple is there, each once.
fn tuple_set(wanted: &Value, sip: &SipText) -> Result<(), String> {
    let wanted: Vec<&Value> = wanted.as_array().into_iter().flatten().collect();
    let fits = pidf::each_tuple(sip, |tuple| {
        wanted
            .iter()
            .map(|want| tuple_holds(want, &tuple).is_ok())
            .collect::<Vec<_>>()
    });
    let rows: Vec<Vec<bool>> = (0..wanted.len())
        .map(|want| {
            fits.iter()
                .map(|row| row.get(want) == Some(&true))
                .collect()
        })
        .collect();
    match assign(&rows) {
        Some(_) => Ok(()),
        None => Err(format!(
            "{} tuples do not make up the wanted set",
            fits.len()
        )),
    }
}

fn tuple_holds(wanted: &Value, tuple: &pidf::TupleView<'_>) -> Result<(), String> {
    for (path, wanted) in object(wanted)? {
        let found = tuple.lookup(path)?;
        value(path, wanted, found.as_ref(), &Context::default())?;
    }
    Ok(())
}

/// The tuple that stands for a resource.
fn tuple_for(wanted: &Value, sip: &SipText) -> Result<(), String> {
    let mut wanted = object(wanted)?.clone();
    let resource = wanted.remove("resource");
    let resource = resource
        .as_ref()
        .and_then(Value::as_str)
        .ok_or("no resource is named")?;
    let may_be_absent = wanted.get("basic") == Some(&Value::from("closed_or_absent"));
    if may_be_absent {
        wanted.insert("basic".to_owned(), Value::from("closed"));
    }
    let wanted = Value::Object(wanted);
    let found = pidf::each_tuple(sip, |tuple| {
        tuple.is_for(resource).then(|| tuple_holds(&wanted, &tuple))
    });
    match found.into_iter().flatten().next() {
        Some(outcome) => outcome,
        None if may_be_absent => Ok(()),
        None => Err(format!("no tuple for {resource}")),
    }
}

/// The map in a value.
pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("not an assertion object: {value}"))
}

/// Gives each row a column of its own in which it is true.
pub(crate) fn assign(rows: &[Vec<bool>]) -> Option<Vec<usize>> {
    fn place(rows: &[Vec<bool>], taken: &mut Vec<usize>) -> bool {
        let Some(row) = rows.get(taken.len()) else {
            return true;
        };
        for (column, fits) in row.iter().enumerate() {
            if *fits && !taken.contains(&column) {
                taken.push(column);
                if place(rows, taken) {
                    return true;
                }
                taken.pop();
            }
        }
        false
    }
    let mut taken = Vec::new();
    place(rows, &mut taken).then_some(taken)
}

const SAMPLE_SIP: &str =
    "NOTIFY sip:a@b.example SIP/2.0\r\nFrom: <sip:a@b.example>;tag=1\r\nCSeq: 1 NOTIFY\r\n\r\n";
const SAMPLE_STANZA: &str = "<message xmlns='jabber:client'/>";
const SAMPLE_MSRP: &str = "MSRP abcd SEND\r\nMessage-ID: 1\r\n-------abcd$\r\n";

/// Looks for paths and operators that this runner does not know, so that none passes because nothing came by.
///
/// # Errors
/// The first such word.
pub(crate) fn vet(assertion: &Map<String, Value>) -> Result<(), String> {
    vet_as(subject(assertion), assertion)
}

/// The same for an assertion about something that its place tells.
///
/// # Errors
/// The first such word.
pub(crate) fn vet_as(subject: Subject, assertion: &Map<String, Value>) -> Result<(), String> {
    let what = match subject {
        Subject::Stanza => Sent::Stanza(SAMPLE_STANZA.parse().map_err(|_| "no sample")?),
        Subject::Sip => Sent::Sip(SipText::parse(SAMPLE_SIP.as_bytes())?),
        Subject::Msrp => {
            let sample = MsrpText::take(&mut SAMPLE_MSRP.as_bytes().to_vec())?;
            Sent::Msrp(sample.ok_or("no sample")?)
        }
    };
    let outputs = [Output {
        at: std::time::Duration::ZERO,
        what,
    }];
    let scene = Scene {
        outputs: &outputs,
        mark: 0,
        end: 1,
        known: &[],
    };
    for (path, wanted) in assertion {
        if path == "one_of_groups" {
            for group in wanted.as_array().into_iter().flatten() {
                let mut group = object(group)?.clone();
                let method = assertion.get("method").or(assertion.get("stanza"));
                let kind = match subject {
                    Subject::Stanza => "stanza",
                    Subject::Sip | Subject::Msrp => "method",
                };
                group.extend(method.map(|method| (kind.to_owned(), method.clone())));
                vet(&group)?;
            }
            continue;
        }
        let outcome = outputs
            .iter()
            .try_for_each(|output| entry(path, wanted, output, &scene));
        if let Err(why) = outcome
            && why.starts_with("unknown")
        {
            return Err(why);
        }
    }
    Ok(())
}
