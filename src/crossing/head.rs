//! Headers, query, captures and cookies: the same verbs as in a body.
