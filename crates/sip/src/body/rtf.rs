//! RTF, as Communicator 2005 and 2007 write it, reduced to its text and the little style that a message has.

use rtf_parser_tt::{Painter, RtfDocument, TextOptions};
use stox_core::vocab::{Colour, Style};

use super::styled::{Styled, Writer};
use super::text::clean;

/// Octets of one document.
pub const MAX_OCTETS: usize = 65_536;
/// How a document begins; the second is what Communicator calls its Unicode form.
const STARTS: [&[u8]; 2] = [b"{\\rtf", b"{\\urtf"];

/// No RTF, damaged RTF, or a document beyond [`MAX_OCTETS`]. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the octets are no RTF document within the limits")]
pub struct RtfError;

/// Reads a document. The charset is what the document says of itself; pictures, objects and hidden text are left out,
/// and so is white space at the end. The text is at most three times as long as the document.
///
/// # Errors
/// [`RtfError`].
pub fn read(octets: &[u8]) -> Result<Styled, RtfError> {
    let octets = octets.trim_ascii();
    if octets.len() > MAX_OCTETS || !STARTS.iter().any(|start| octets.starts_with(start)) {
        return Err(RtfError);
    }
    let document = RtfDocument::from_bytes(octets).map_err(|_| RtfError)?;
    let shown = TextOptions::default();
    let mut out = Writer::default();
    for block in document.body.iter().filter(|block| shown.includes(block)) {
        let colours = &document.header.color_table;
        let colour = colours.get(&block.painter.color_ref);
        let style = Style {
            colour: colour.and_then(|c| Colour::unless_black(c.red, c.green, c.blue)),
            ..style_of(&block.painter)
        };
        // COMPAT(OC 2005): a NUL ends the text.
        let text = clean(block.text.trim_end_matches('\0'));
        text.chars()
            .for_each(|character| out.push(as_plain(character), &style));
    }
    Ok(out.finish())
}

fn style_of(painter: &Painter) -> Style {
    Style {
        bold: painter.bold,
        italic: painter.italic,
        underline: painter.underline,
        strike: painter.strike,
        ..Style::default()
    }
}

/// A no-break space is a matter of looks; people and programs expect the plain one.
fn as_plain(character: char) -> char {
    if character == '\u{a0}' {
        ' '
    } else {
        character
    }
}
