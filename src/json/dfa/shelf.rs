//! A list that grows while others read it. Start at [`Shelf::get`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Grows without moving what is on it, so that reading takes no lock. Writers hold the lock of `Made`.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    /// Board n has room for `FIRST << n`.
    boards: Box<[OnceLock<Board<T>>]>,
    len: AtomicU32,
}

type Board<T> = Box<[OnceLock<T>]>;
const FIRST: u32 = 16;
const BOARDS: usize = 12;

impl<T> Shelf<T> {
    pub(super) fn new() -> Self {
        let boards = std::iter::repeat_with(OnceLock::new).take(BOARDS).collect();
        Self { boards, len: 0.into() }
    }

    #[inline(always)]
    fn place(id: u32) -> (usize, usize) {
        let board = (id / FIRST + 1).ilog2();
        (board as usize, (id - FIRST * ((1 << board) - 1)) as usize)
    }

    #[inline(always)]
    pub(super) fn get(&self, id: u32) -> Option<&T> {
        let (board, place) = Self::place(id);
        self.boards.get(board)?.get()?.get(place)?.get()
    }

    pub(super) fn push(&self, max: usize, value: T) -> Option<u32> {
        let id = self.len.load(Ordering::Relaxed);
        if id as usize >= max {
            return None;
        }
        let (board, place) = Self::place(id);
        let room = (FIRST << board) as usize;
        let board = self.boards.get(board)?;
        let board = board.get_or_init(|| std::iter::repeat_with(OnceLock::new).take(room).collect());
        board.get(place)?.set(value).ok()?;
        self.len.store(id + 1, Ordering::Relaxed);
        Some(id)
    }
}
