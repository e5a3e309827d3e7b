//! The seam for stored tokens: the contract of a `TokenStore`.
