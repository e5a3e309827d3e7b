//! What each partner gets of one body.
