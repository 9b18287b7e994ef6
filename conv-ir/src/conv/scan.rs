//! Reading one-line text forms: a cursor that knows its column.
