//! Parsers of the values of options.

/// Reads a name, an id or a label. An empty one is usually an unset shell variable.
pub(crate) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty; check that your shell variable is set".into()) } else { Ok(text.into()) }
}

/// Reads a key and a value.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =; write key=value"))?;
    Ok((key.into(), value.into()))
}
