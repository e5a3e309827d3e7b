//! How much of a body a path makes us hold. Start at [`Path::class`].

use super::{Class, Path, Selector};

impl Path {
    /// How much must be held to decide it.
    ///
    /// `Element`: every segment before the first that is not streamable is a child segment, no segment from there on that is not
    /// streamable is a descendant segment or under one, no filter reads `$`, and no step is zero or negative.
    pub fn class(&self) -> Class {
        let mut class = Class::Stream;
        let mut descended = false;
        for segment in &self.segments {
            descended |= segment.descendant;
            for selector in segment.selectors.iter().filter(|selector| !selector.is_streamable()) {
                let whole = match selector {
                    Selector::Filter(filter) => filter.reads_root(),
                    Selector::Slice { step, .. } => *step <= 0,
                    _ => false,
                };
                class = class.max(if whole || descended { Class::Body } else { Class::Element });
            }
        }
        class
    }

    /// How many of an array's last elements are held to decide it, at most, where its class is [`Class::Element`] and something in
    /// it counts from the end.
    pub fn from_end(&self) -> Option<u64> {
        let back = |at: Option<i64>| at.filter(|at| *at < 0).map(i64::unsigned_abs);
        let selectors = self.segments.iter().flat_map(|segment| &segment.selectors);
        let reach = selectors.filter_map(|selector| match selector {
            Selector::Index(index) => back(Some(*index)),
            Selector::Slice { start, end, .. } => back(*start).max(back(*end)),
            _ => None,
        });
        reach.max().filter(|_| self.class() == Class::Element)
    }

    /// Does a filter decide about an element, at any level of it?
    pub fn has_filter(&self) -> bool {
        self.segments.iter().flat_map(|segment| &segment.selectors).any(|s| matches!(s, Selector::Filter(_)))
    }
}
