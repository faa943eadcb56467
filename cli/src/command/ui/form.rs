//! Parameters of addresses, and fields of forms.

use std::collections::HashMap;

/// The parameters of an address, or the fields of a form.
pub(super) type Parameters = HashMap<String, String>;

/// Returns a parameter, or an empty text.
pub(super) fn given<'a>(parameters: &'a Parameters, name: &str) -> &'a str {
    parameters.get(name).map(String::as_str).unwrap_or_default()
}
