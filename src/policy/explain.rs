//! A document in, a line per leaf out: path, category, rule (file:line), what leaves.
