//! `as` and `normalize`: how a token looks, and what makes one of a value's spellings.
//!
//! Start at [`shape`] and [`normalize`].

use crate::ids::{Normalize, Shape};

use super::codes;
use super::rule::Action;
use super::source::{Report, Section, list, near, quote};

/// The shapes of tokens that need no store.
const SHAPES: &[Shape] =
    &[Shape::Opaque, Shape::Email, Shape::Digits, Shape::Alnum, Shape::Card, Shape::Iban, Shape::Date];

/// Reads `as`. `None` where there is none, `Some(None)` after a complaint.
pub fn shape(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Option<Shape>> {
    if !section.has("as") {
        return None;
    }
    let Some(text) = section.text(report, "as") else {
        return Some(None);
    };
    let found = SHAPES.iter().copied().find(|shape| shape.name() == text.value);
    if found.is_none() {
        let names: Vec<&str> = SHAPES.iter().map(|shape| shape.name()).collect();
        let why = match text.value {
            "uuid" => Some("a UUID says itself what it is: leave `as` out"),
            "phone" => {
                Some("no reserved range holds as many numbers as there are, so that its token would have to be stored")
            }
            _ => None,
        };
        if let Some(why) = why {
            let message = format!("{}: `as = \"{}\"` is not supported here by this version", section.name, text.value);
            let help = format!("{why}; shapes are {}", list(&names));
            report.error_with(codes::UNSUPPORTED, text.span, message, help);
        } else {
            let message = format!("{}: unknown shape {}", section.name, quote(text.value));
            report.error_with(codes::BAD_VALUE, text.span, message, near(text.value, &names, "shapes"));
        }
    }
    Some(found)
}

/// Reads `normalize` of a rule with this action. `Some(None)` where there is none, `None` after a complaint.
pub fn normalize(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    action: Option<&Action>,
) -> Option<Option<Normalize>> {
    if !section.has("normalize") {
        return Some(None);
    }
    let text = section.text(report, "normalize")?;
    let Some((_, how)) = Normalize::ALL.iter().find(|(name, _)| *name == text.value) else {
        let names: Vec<&str> = Normalize::ALL.iter().map(|(name, _)| *name).collect();
        let message = format!("{}: unknown normalization {}", section.name, quote(text.value));
        report.error_with(codes::BAD_VALUE, text.span, message, near(text.value, &names, "normalizations"));
        return None;
    };
    if let Some(Action::Tokenize(shape)) = action
        && !shape.is_authentic()
    {
        report.error_with(
            codes::NORMALIZE,
            section.key_span("normalize"),
            format!(
                "{}: a token `as = \"{}\"` is made of the characters that the value has",
                section.name,
                shape.name()
            ),
            "leave `normalize` out, or `as`",
        );
        return None;
    }
    Some(Some(*how))
}
