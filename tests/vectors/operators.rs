//! The operators of the assertion language on one value.

use minidom::Element;
use regex::Regex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stox_sip::uri::Uri;

use crate::pidf::is_ncname;

/// What an operator may compare with beside the value itself.
#[derive(Debug, Default, Clone)]
pub(crate) struct Context {
    /// What the same path names in the last message before.
    pub(crate) previous: Option<Value>,
    /// The status of the message, for `present_or_status_is`.
    pub(crate) status: Option<u16>,
    /// Whether the stanza asks for a receipt, for `present_if_receipt_request`.
    pub(crate) asks_receipt: bool,
    /// The `from` of every stanza sent, for `resource_distinct`.
    pub(crate) senders: Vec<String>,
    /// Full addresses that the vector has named, for `one_of_bare_or_known_full`.
    pub(crate) known: Vec<String>,
    /// Request method and `CSeq` number of each request sent, for `same_number_as`.
    pub(crate) numbers: Vec<(String, String)>,
}

/// A scalar as text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    text(value)?.trim().parse().ok()
}

fn integer(value: &Value) -> Option<i64> {
    text(value)?.trim().parse().ok()
}

/// Equality of a value with a literal; a number equals its digits.
pub(crate) fn equal(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| equal(f, w))
        }
        (Value::Array(found), wanted) if found.len() == 1 => {
            found.iter().all(|found| equal(found, wanted))
        }
        _ => found == wanted || (text(found).is_some() && text(found) == text(wanted)),
    }
}

fn bare(jid: &str) -> &str {
    jid.split('/').next().unwrap_or(jid)
}

fn lf(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// Elements of a comma-separated list, without their parameters.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' '])
        .map(|item| item.split(';').next().unwrap_or(item).trim())
}

fn uri_eq(found: &str, wanted: &str) -> bool {
    match (Uri::parse(found), Uri::parse(wanted)) {
        (Ok(found), Ok(wanted)) => found.uri_eq(&wanted),
        _ => found == wanted,
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn contains(found: &Value, wanted: &Value) -> bool {
    match found {
        Value::Array(items) => items.iter().any(|item| equal(item, wanted)),
        _ => match (text(found), text(wanted)) {
            (Some(found), Some(wanted)) => found.contains(&wanted),
            _ => false,
        },
    }
}

fn between(value: f64, range: &Value) -> Result<bool, String> {
    match range.as_array().map(Vec::as_slice) {
        Some([low, high]) => Ok(number(low).is_some_and(|low| low <= value)
            && number(high).is_some_and(|high| value <= high)),
        _ => Err(format!("a range needs two numbers: {range}")),
    }
}

fn subsequence(found: &Value, order: &Value) -> bool {
    let order: Vec<String> = order
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .collect();
    let mut least = 0;
    found.as_array().into_iter().flatten().all(|item| {
        let at = order
            .iter()
            .position(|name| Some(name) == text(item).as_ref());
        at.filter(|at| *at >= least).is_some_and(|at| {
            least = at;
            true
        })
    })
}

fn walk<'a>(element: &'a Element, see: &mut impl FnMut(&'a Element)) {
    see(element);
    for child in element.children() {
        walk(child, see);
    }
}

/// Whether any element matches one of the selectors `name` and `name[attribute]`.
fn has_element(xml: &str, selectors: &[String]) -> bool {
    let Ok(root) = xml.parse::<Element>() else {
        return true;
    };
    let mut found = false;
    walk(&root, &mut |element| {
        found |= selectors
            .iter()
            .any(|selector| match selector.split_once('[') {
                Some((name, attribute)) => {
                    element.name() == name
                        && element.attr(attribute.trim_end_matches(']')).is_some()
                }
                None => element.name() == selector,
            });
    });
    found
}

fn has_attribute(xml: &str, names: &[String]) -> bool {
    let Ok(root) = xml.parse::<Element>() else {
        return true;
    };
    let mut found = false;
    walk(&root, &mut |element| {
        found |= names
            .iter()
            .any(|name| element.attr(name.as_str()).is_some());
    });
    found
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .collect()
}

/// Every operator of the object must hold.
///
/// # Errors
/// What is wrong, or an unknown operator.
pub(crate) fn all(
    operators: &Map<String, Value>,
    found: Option<&Value>,
    context: &Context,
) -> Result<(), String> {
    for (name, argument) in operators {
        if !one(name, argument, found, context)? {
            let found = found.map_or("nothing".to_owned(), Value::to_string);
            return Err(format!("{name} {argument} does not hold for {found}"));
        }
    }
    Ok(())
}

fn one(
    name: &str,
    argument: &Value,
    found: Option<&Value>,
    context: &Context,
) -> Result<bool, String> {
    if let Some(holds) = presence(name, argument, found, context)? {
        return Ok(holds);
    }
    if let Some(holds) = against_others(name, argument, found, context)? {
        return Ok(holds);
    }
    match found {
        Some(found) => on_value(name, argument, found),
        // Evaluated on something, so that an unknown operator is noticed where the value is absent too.
        None => {
            on_value(name, argument, &Value::Null).map(|_| matches!(name, "not" | "not_contains"))
        }
    }
}

/// Operators that can hold for an absent value.
fn presence(
    name: &str,
    argument: &Value,
    found: Option<&Value>,
    context: &Context,
) -> Result<Option<bool>, String> {
    let wanted = argument.as_bool().unwrap_or(true);
    if let Some(rest) = name
        .strip_prefix("if_present_")
        .or_else(|| name.strip_prefix("absent_or_"))
    {
        return match (rest, found) {
            ("any", _) => Ok(Some(true)),
            (_, None) => one(rest, argument, Some(&Value::Null), context).map(|_| Some(true)),
            (_, Some(_)) => one(rest, argument, found, context).map(Some),
        };
    }
    let text = found.and_then(text);
    Ok(match name {
        "absent" => Some(found.is_none() == wanted),
        "present" => Some(found.is_some() == wanted),
        "present_nonempty" => Some(text.is_some_and(|text| !text.is_empty()) == wanted),
        "empty_or" => match text {
            None => Some(true),
            Some(text) if text.is_empty() => Some(true),
            Some(_) => Some(found.is_some_and(|found| equal(found, argument))),
        },
        "if_present" => match (argument, found) {
            (Value::Object(nested), None) => {
                for (name, argument) in nested {
                    one(name, argument, Some(&Value::Null), context)?;
                }
                Some(true)
            }
            (_, None) => Some(true),
            (Value::Object(nested), Some(_)) => Some(all(nested, found, context).is_ok()),
            (_, Some(found)) => Some(equal(found, argument)),
        },
        "present_or_status_is" => {
            Some(found.is_some() || context.status.map(i64::from) == integer(argument))
        }
        "present_if_receipt_request" => Some(found.is_some() || !context.asks_receipt),
        // What the RFC's example shows, for the reader.
        "rfc_example" => Some(true),
        "max_fraction_digits" => {
            let digits = text.as_deref().and_then(|text| text.split_once('.'));
            let count = digits.map_or(0, |(_, digits)| digits.len());
            Some(
                integer(argument).is_some_and(|most| i64::try_from(count).is_ok_and(|c| c <= most)),
            )
        }
        _ => None,
    })
}

/// Operators that compare with other messages.
fn against_others(
    name: &str,
    argument: &Value,
    found: Option<&Value>,
    context: &Context,
) -> Result<Option<bool>, String> {
    let previous = context.previous.as_ref();
    let same = found.is_some() && found.and_then(text) == previous.and_then(text);
    let text = found.and_then(text);
    Ok(match name {
        "eq_previous" => Some(same == argument.as_bool().unwrap_or(true)),
        "not_eq_previous" => Some(same != argument.as_bool().unwrap_or(true)),
        "gt_previous" => match (found.and_then(integer), previous.and_then(integer)) {
            (Some(found), Some(previous)) => Some(found > previous),
            _ => Some(false),
        },
        "same_number_as" => {
            let method = argument.as_str().unwrap_or_default();
            let number = text.as_deref().and_then(|t| t.split_whitespace().next());
            Some(
                context
                    .numbers
                    .iter()
                    .any(|(have, count)| have == method && Some(count.as_str()) == number),
            )
        }
        "resource_distinct" => Some(text.is_some_and(|from| {
            let times = context
                .senders
                .iter()
                .filter(|sender| **sender == from)
                .count();
            from.contains('/') && times <= 1
        })),
        "resource_for_tuple" => {
            let resource = text
                .as_deref()
                .and_then(|from| from.split_once('/'))
                .map(|(_, r)| r);
            let id = argument.as_str().unwrap_or_default();
            Some(resource.is_some_and(|resource| crate::pidf::is_id_of(id, resource)))
        }
        "one_of_bare_or_known_full" => Some(text.is_some_and(|to| {
            let user = argument.as_str().unwrap_or_default();
            to == user || (bare(&to) == user && context.known.contains(&to))
        })),
        _ => None,
    })
}

fn on_value(name: &str, argument: &Value, found: &Value) -> Result<bool, String> {
    let own = text(found).unwrap_or_default();
    let wanted = text(argument).unwrap_or_default();
    let flag = argument.as_bool().unwrap_or(true);
    let compare = |test: fn(i64, i64) -> bool| {
        integer(found)
            .zip(integer(argument))
            .is_some_and(|(f, w)| test(f, w))
    };
    Ok(match name {
        "eq" => equal(found, argument),
        "ieq" => own.eq_ignore_ascii_case(&wanted),
        "not" => !equal(found, argument),
        "one_of" => argument
            .as_array()
            .is_some_and(|options| options.iter().any(|o| equal(found, o))),
        "not_one_of" => argument
            .as_array()
            .is_some_and(|options| !options.iter().any(|o| equal(found, o))),
        "matches" | "not_matches" => {
            let pattern = Regex::new(&wanted).map_err(|error| error.to_string())?;
            pattern.is_match(&own) == (name == "matches")
        }
        "contains" => contains(found, argument),
        "not_contains" => !contains(found, argument),
        "starts_with" => own.starts_with(&wanted),
        "ends_with" => own.ends_with(&wanted),
        "int_between" => {
            integer(found).is_some() && between(number(found).unwrap_or(f64::NAN), argument)?
        }
        "decimal_between" => between(number(found).unwrap_or(f64::NAN), argument)?,
        "int_ge" => compare(|f, w| f >= w),
        "int_le" => compare(|f, w| f <= w),
        "int_gt" => compare(|f, w| f > w),
        "int_lt" => compare(|f, w| f < w),
        "int_eq" => compare(|f, w| f == w),
        "uri_eq" => uri_eq(&own, &wanted),
        "bare_jid_eq" => bare(&own) == bare(&wanted),
        "contains_token" => tokens(&own).any(|token| token.eq_ignore_ascii_case(&wanted)),
        "not_contains_token" => !tokens(&own).any(|token| token.eq_ignore_ascii_case(&wanted)),
        "media_type" => own
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case(&wanted),
        "sha256" => hex(&Sha256::digest(own.as_bytes())) == wanted,
        "octets" | "length" => Some(own.len()) == wanted.parse().ok(),
        "ncname" => is_ncname(&own) == flag,
        "trim_eq" => own.trim() == wanted.trim(),
        "eq_modulo_crlf" => lf(&own) == lf(&wanted),
        "well_formed" => own.parse::<Element>().is_ok() == flag,
        "subsequence_of" => subsequence(found, argument),
        "no_elements" => !has_element(&own, &strings(argument)),
        "no_attributes" => !has_attribute(&own, &strings(argument)),
        _ => return Err(format!("unknown operator: {name}")),
    })
}
