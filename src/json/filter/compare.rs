//! Compares values (RFC 9535, section 2.3.5.2.2): by kind, numbers by their decimal spelling, containers without recursion.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::super::FaultKind;
use super::super::tape::{NodeId, NodeKind};
use super::super::text::{self, Decimal};
use super::run::Run;
use super::{Comparison, Literal};

/// What an operand amounts to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'e> {
    /// No node, or `Nothing`.
    Nothing,
    Node(NodeId),
    Literal(&'e Literal),
    /// What `count` and `length` give.
    Count(u64),
}

/// A value, seen.
enum Seen<'e> {
    Nothing,
    Null,
    Bool(bool),
    Number(Cow<'e, [u8]>),
    String(Cow<'e, str>),
    Container(NodeId),
}

impl<'a> Run<'a> {
    pub(super) fn compare(
        &mut self,
        comparison: Comparison,
        left: Value<'_>,
        right: Value<'_>,
    ) -> Result<bool, FaultKind> {
        let (left, right) = (self.see(left)?, self.see(right)?);
        let is = |order: Option<Ordering>, wanted: Ordering| order == Some(wanted);
        // `<=` is `<` or `==`, so that `true <= true` holds and `Nothing <= Nothing` too.
        Ok(match comparison {
            Comparison::Equal => self.equal(&left, &right)?,
            Comparison::NotEqual => !self.equal(&left, &right)?,
            Comparison::Less => is(self.order(&left, &right)?, Ordering::Less),
            Comparison::Greater => is(self.order(&left, &right)?, Ordering::Greater),
            Comparison::LessOrEqual => is(self.order(&left, &right)?, Ordering::Less) || self.equal(&left, &right)?,
            Comparison::GreaterOrEqual => {
                is(self.order(&left, &right)?, Ordering::Greater) || self.equal(&left, &right)?
            }
        })
    }

    /// Reads the value; of a string, all its bytes.
    fn see<'e>(&mut self, value: Value<'e>) -> Result<Seen<'e>, FaultKind>
    where
        'a: 'e,
    {
        Ok(match value {
            Value::Nothing => Seen::Nothing,
            Value::Count(count) => Seen::Number(Cow::Owned(count.to_string().into_bytes())),
            Value::Literal(Literal::Null) => Seen::Null,
            Value::Literal(Literal::True) => Seen::Bool(true),
            Value::Literal(Literal::False) => Seen::Bool(false),
            Value::Literal(Literal::Number(spelling)) => Seen::Number(Cow::Borrowed(spelling.as_bytes())),
            Value::Literal(Literal::String(text)) => Seen::String(Cow::Borrowed(text)),
            Value::Node(node) => match self.tape.kind(node) {
                NodeKind::Null => Seen::Null,
                NodeKind::True => Seen::Bool(true),
                NodeKind::False => Seen::Bool(false),
                NodeKind::Number => Seen::Number(Cow::Borrowed(self.raw(node))),
                NodeKind::String => {
                    let raw = self.raw(node);
                    self.spend_bytes(raw.len())?;
                    Seen::String(text::unescape(raw))
                }
                NodeKind::Object | NodeKind::Array => Seen::Container(node),
            },
        })
    }

    fn equal(&mut self, left: &Seen<'_>, right: &Seen<'_>) -> Result<bool, FaultKind> {
        Ok(match (left, right) {
            (Seen::Nothing, Seen::Nothing) | (Seen::Null, Seen::Null) => true,
            (Seen::Bool(left), Seen::Bool(right)) => left == right,
            (Seen::Number(left), Seen::Number(right)) => self.order_numbers(left, right)? == Ordering::Equal,
            (Seen::String(left), Seen::String(right)) => left == right,
            (Seen::Container(left), Seen::Container(right)) => self.equal_nodes(*left, *right)?,
            _ => false,
        })
    }

    /// Only numbers and strings have an order; strings by code points, which in UTF-8 is by bytes.
    fn order(&mut self, left: &Seen<'_>, right: &Seen<'_>) -> Result<Option<Ordering>, FaultKind> {
        Ok(match (left, right) {
            (Seen::Number(left), Seen::Number(right)) => Some(self.order_numbers(left, right)?),
            (Seen::String(left), Seen::String(right)) => Some(left.cmp(right)),
            _ => None,
        })
    }

    fn order_numbers(&mut self, left: &[u8], right: &[u8]) -> Result<Ordering, FaultKind> {
        self.spend_bytes(left.len() + right.len())?;
        match (Decimal::parse(left), Decimal::parse(right)) {
            (Some(left), Some(right)) => Ok(left.cmp(&right)),
            // An exponent of nineteen digits: no answer is better than a wrong one.
            _ => Err(FaultKind::Rule),
        }
    }

    fn equal_nodes(&mut self, left: NodeId, right: NodeId) -> Result<bool, FaultKind> {
        let tape = self.tape;
        let mut pairs = vec![(left, right)];
        while let Some((left, right)) = pairs.pop() {
            self.spend(1)?;
            let kind = tape.kind(left);
            if kind != tape.kind(right) {
                return Ok(false);
            }
            match kind {
                NodeKind::Array | NodeKind::Object => {
                    self.read(left)?;
                    self.read(right)?;
                    if tape.count(left) != tape.count(right) {
                        return Ok(false);
                    }
                    if kind == NodeKind::Array {
                        pairs.extend(tape.children(left).zip(tape.children(right)));
                        continue;
                    }
                    let (left, right) = (self.members(left)?, self.members(right)?);
                    for ((name, value), (other, other_value)) in left.into_iter().zip(right) {
                        if name != other {
                            return Ok(false);
                        }
                        pairs.push((value, other_value));
                    }
                }
                _ => {
                    let (left, right) = (self.see(Value::Node(left))?, self.see(Value::Node(right))?);
                    if !self.equal(&left, &right)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// An object's members by name.
    fn members(&mut self, object: NodeId) -> Result<Vec<(Cow<'a, str>, NodeId)>, FaultKind> {
        // Sorting looks at a name more than once.
        let bytes: usize = self.tape.children(object).map(|child| self.name(child).len()).sum();
        self.spend(4 * self.tape.count(object) as u64)?;
        self.spend_bytes(4 * bytes)?;
        let mut members: Vec<_> =
            self.tape.children(object).map(|child| (text::unescape(self.name(child)), child)).collect();
        members.sort_unstable();
        Ok(members)
    }
}
