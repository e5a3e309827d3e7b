//! What filters read of a value: so much of it has to be laid out to decide them, and no more.
//!
//! It knows expressions and no bytes. Start at [`Reads::of`]; `tape` lays out by it.

use std::sync::Arc;

use super::super::path::{Segment, Selector};
use super::{Expr, Filter, Operand, Pattern, Query};

/// A place in [`Reads`].
pub(in super::super) type ReadId = u32;

/// What is read below `@`, as a tree of places; place 0 is the value itself.
#[derive(Debug)]
pub(in super::super) struct Reads {
    places: Vec<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// Everything in it.
    whole: bool,
    /// How many children it has, and whether two of its names are equal.
    open: bool,
    /// These members.
    names: Vec<(Arc<str>, ReadId)>,
    /// All children.
    each: Option<ReadId>,
}

/// What is read of the value at the end of a query.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// That it is there; a leaf's spelling.
    Touch,
    /// How many children it has.
    Open,
    /// All that is in it.
    Whole,
}

impl Reads {
    /// The value itself.
    pub(in super::super) const ROOT: ReadId = 0;
    /// A place of which everything is read.
    pub(in super::super) const WHOLE: ReadId = ReadId::MAX;

    /// What these filters read of the value that they decide about. None of them reads `$`.
    pub(in super::super) fn of<'a>(filters: impl Iterator<Item = &'a Filter>) -> Self {
        let mut reads = Self { places: vec![Place::default()] };
        for filter in filters {
            reads.expr(&filter.expr, Self::ROOT);
        }
        for n in 0..reads.places.len() {
            if let Some(place) = reads.places.get_mut(n) {
                // Both at once is rare: then the place is laid out whole instead of merging trees.
                place.whole |= place.each.is_some() && !place.names.is_empty();
            }
        }
        reads
    }

    /// Are its names compared and its children counted?
    pub(in super::super) fn is_open(&self, place: ReadId) -> bool {
        self.places.get(place as usize).is_none_or(|place| place.whole || place.open)
    }

    /// The place of a member; `None` where it is not read. `matches` compares with the member's name.
    #[inline]
    pub(in super::super) fn member(&self, place: ReadId, matches: impl Fn(&str) -> bool) -> Option<ReadId> {
        let Some(place) = self.places.get(place as usize).filter(|place| !place.whole) else {
            return Some(Self::WHOLE);
        };
        place.each.or_else(|| place.names.iter().find(|(name, _)| matches(name)).map(|(_, to)| *to))
    }

    /// The place of every element; `None` where they are not read.
    #[inline]
    pub(in super::super) fn element(&self, place: ReadId) -> Option<ReadId> {
        let Some(place) = self.places.get(place as usize).filter(|place| !place.whole) else {
            return Some(Self::WHOLE);
        };
        place.each
    }

    fn expr(&mut self, expr: &Expr, at: ReadId) {
        match expr {
            Expr::Or(all) | Expr::And(all) => all.iter().for_each(|expr| self.expr(expr, at)),
            Expr::Not(inner) => self.expr(inner, at),
            Expr::Exists(query) => self.query(query, at, End::Touch),
            Expr::Compare(_, left, right) => {
                // Only where both can be containers is one compared with all that is in it.
                let node = |operand: &Operand| matches!(operand, Operand::Query(_) | Operand::Value(_));
                let end = if node(left) && node(right) { End::Whole } else { End::Touch };
                self.operand(left, at, end);
                self.operand(right, at, end);
            }
            Expr::Match { text, pattern, .. } => {
                self.operand(text, at, End::Touch);
                if let Pattern::Read(operand) = &**pattern {
                    self.operand(operand, at, End::Touch);
                }
            }
        }
    }

    fn operand(&mut self, operand: &Operand, at: ReadId, end: End) {
        match operand {
            Operand::Literal(_) => {}
            Operand::Query(query) | Operand::Value(query) => self.query(query, at, end),
            Operand::Count(query) => self.query(query, at, End::Touch),
            Operand::Length(inner) => self.operand(inner, at, End::Open),
        }
    }

    fn query(&mut self, query: &Query, at: ReadId, end: End) {
        if query.root {
            return self.mark(at, End::Whole);
        }
        self.segments(&query.segments, at, end);
    }

    fn segments(&mut self, segments: &[Segment], at: ReadId, end: End) {
        let Some((segment, rest)) = segments.split_first() else { return self.mark(at, end) };
        self.mark(at, if segment.descendant { End::Whole } else { End::Open });
        if segment.descendant {
            return;
        }
        for selector in &segment.selectors {
            let to = match selector {
                Selector::Name(name) => self.named(at, name),
                _ => self.every(at),
            };
            if let Selector::Filter(filter) = selector {
                let expr = Arc::clone(&filter.expr);
                self.expr(&expr, to);
            }
            self.segments(rest, to, end);
        }
    }

    fn mark(&mut self, at: ReadId, end: End) {
        if let Some(place) = self.places.get_mut(at as usize) {
            place.open |= end == End::Open;
            place.whole |= end == End::Whole;
        }
    }

    fn named(&mut self, at: ReadId, name: &Arc<str>) -> ReadId {
        let new = ReadId::try_from(self.places.len()).unwrap_or(Self::WHOLE);
        let Some(place) = self.places.get_mut(at as usize) else { return Self::WHOLE };
        if let Some((_, known)) = place.names.iter().find(|(known, _)| known == name) {
            return *known;
        }
        place.names.push((Arc::clone(name), new));
        self.places.push(Place::default());
        new
    }

    fn every(&mut self, at: ReadId) -> ReadId {
        let new = ReadId::try_from(self.places.len()).unwrap_or(Self::WHOLE);
        let Some(place) = self.places.get_mut(at as usize) else { return Self::WHOLE };
        if let Some(known) = place.each {
            return known;
        }
        place.each = Some(new);
        self.places.push(Place::default());
        new
    }
}
