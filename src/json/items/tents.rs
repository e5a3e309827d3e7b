//! Containers that wait for something in them to stay, as the tightest loop sees them: as if they stayed, until they end.
//!
//! Mostly something in them stays, and nothing has to be done for it. Where nothing did, what was planned since is taken back; and
//! where the loop ends in the middle, they become openers that wait as any others (`pending`). Start at [`Tent`].

use super::super::walk::Walker;
use super::super::window::Plan;
use super::lane::{Lane, Spot};

/// A container that was gone into as if it stayed. Nothing in it has stayed yet, and nothing in one that is around it and in the list.
/// Places are of the buffer.
#[derive(Clone, Copy, Debug)]
pub(in crate::json) struct Tent {
    /// Its level.
    pub(super) level: usize,
    /// What was planned before it.
    edits: (usize, usize),
    /// Where it hangs on what is before it, where its item begins, and its opener.
    sep: usize,
    item: usize,
    opener: usize,
    /// Of the container around it: see [`Lane`].
    first: bool,
    gone: bool,
    gap: usize,
    kept: bool,
}

impl Tent {
    /// Of the container at `spot`, which is not gone into yet. It will be at `level`.
    #[inline(always)]
    pub(super) fn new(lane: &Lane<'_>, spot: &Spot, level: usize, plan: &Plan) -> Self {
        let (first, item) = (lane.is_first(), lane.base + spot.item);
        Self {
            level,
            edits: plan.mark(),
            sep: if first { item } else { lane.base + lane.at },
            item,
            opener: lane.base + spot.value,
            first,
            gone: lane.gone,
            gap: lane.gap,
            kept: lane.kept,
        }
    }

    /// It ended, and nothing in it stayed. The lane is behind it.
    #[inline(always)]
    pub(super) fn fold(self, lane: &mut Lane<'_>, plan: &mut Plan) {
        plan.undo(self.edits);
        (lane.gone, lane.gap, lane.kept) =
            if self.gone { (true, self.gap, self.kept) } else { (true, self.sep, !self.first) };
    }

    fn has_kept(&self) -> bool {
        if self.gone { self.kept } else { !self.first }
    }
}

impl Walker {
    /// The loop ends here, or meets something unusual: what it took for staying waits as all openers do.
    #[inline(always)]
    pub(super) fn strike(&mut self, lane: &mut Lane<'_>, plan: &mut Plan) {
        if !self.tents.is_empty() {
            // A copy, so that the lane itself can stay in registers.
            *lane = self.strike_all(*lane, plan);
        }
    }

    #[inline(never)]
    fn strike_all<'p>(&mut self, mut lane: Lane<'p>, plan: &mut Plan) -> Lane<'p> {
        let Some(first) = self.tents.first() else { return lane };
        plan.undo(first.edits);
        if first.gone {
            plan.remove(first.gap..first.sep);
        }
        let mut around: Option<Tent> = None;
        for tent in self.tents.drain(..) {
            // White space behind an opener waits with it.
            if let Some(around) = around {
                self.pending.add(around.opener + 1..if tent.gone { tent.gap } else { tent.item });
            }
            let mark = self.pending.open(tent.level, tent.sep);
            self.pending.add(if tent.has_kept() { tent.sep } else { tent.item }..tent.opener + 1);
            if let Some(frame) = self.stack.get_mut(tent.level - 1) {
                frame.kept = tent.has_kept();
            }
            match self.stack.get_mut(tent.level) {
                Some(frame) => frame.mark = mark,
                None => self.top.mark = mark,
            }
            around = Some(tent);
        }
        if let Some(inmost) = around
            && !lane.is_first()
        {
            self.pending.add(inmost.opener + 1..lane.gap);
        }
        (lane.waits, lane.gone, lane.kept) = (true, true, false);
        lane
    }
}
