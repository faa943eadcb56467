//! A short digest of a job's arguments, by which a duplicate with other arguments is found.

use uuid::Uuid;

use super::Envelope;

impl Envelope {
    /// Returns a digest of the arguments: the first 16 hexadecimal digits of the SHA-1 of their JSON (as a UUID of version 5
    /// takes it). Equal arguments have equal digests, whatever the order of keys and the spaces between them.
    ///
    /// ```
    /// use sqjobs::Envelope;
    ///
    /// let digest = |body| Envelope::parse(body).map(|envelope| envelope.digest());
    /// let one = digest(r#"{"name": "adder", "args": {"a": 1, "b": 2}}"#)?;
    /// assert_eq!(one, digest(r#"{"name": "adder", "id": "x", "args": {"b":2,"a":1}}"#)?);
    /// assert_ne!(one, digest(r#"{"name": "adder", "args": {"a": 1, "b": 3}}"#)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "it cannot: the keys are strings and JSON has a place for every value")]
    pub fn digest(&self) -> String {
        let mut text = serde_json::to_vec(&self.args).expect("a value is JSON");
        if !self.kwargs.is_empty() {
            serde_json::to_writer(&mut text, &self.kwargs).expect("memory takes all");
        }
        let mut digest = Uuid::new_v5(&Uuid::nil(), &text).simple().to_string();
        digest.truncate(16);
        digest
    }
}
