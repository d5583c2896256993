//! A pickle machine that can build plain values and tensors and nothing else.
//!
//! A pickle is a program. This machine knows the instructions and the handful of
//! names that `torch.save` needs; anything else is refused by name before it
//! could mean anything. Nothing is ever called: a "call" of a known name turns
//! into a [`Value`]. Values live in one arena, so no input can make it recurse.

use super::pickle_vm::PickleVm;
use super::value::{Id, PickleError, Value};

/// The values of a pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Runs a pickle.
    ///
    /// # Errors
    /// [`PickleError`] says what is refused or malformed.
    pub(crate) fn read(bytes: &[u8], skip: &[String]) -> Result<Self, PickleError> {
        let mut machine = PickleVm::new(bytes);
        let root = machine.run()?;
        let pickle = Self {
            values: machine.values,
            root,
        };
        pickle.refuse_containers(skip)?;
        Ok(pickle)
    }

    /// Refuses containers outside the entries of the outermost dict that `skip` names.
    fn refuse_containers(&self, skip: &[String]) -> Result<(), PickleError> {
        let skipped = |key: Id| match self.value(key) {
            Value::Text(key) => skip.contains(key),
            _ => false,
        };
        let mut open = vec![(self.root, None)];
        if let Value::Dict(entries) = self.root() {
            let entries = entries.iter().filter(|(key, _)| !skipped(*key));
            open = entries
                .flat_map(|&(key, value)| [(key, Some(key)), (value, Some(key))])
                .collect();
        }
        let mut seen = vec![false; self.values.len()];
        while let Some((id, entry)) = open.pop() {
            if std::mem::replace(&mut seen[id as usize], true) {
                continue;
            }
            match self.value(id) {
                Value::Opaque(name) => {
                    let entry = entry.map(|entry| self.value(entry));
                    let remedy = match entry {
                        Some(Value::Text(entry)) => format!(
                            " in its entry `{entry}`, of which nothing is read: `--skip {entry}` passes over it"
                        ),
                        _ => String::new(),
                    };
                    return Err(PickleError::Refused(format!("asks for `{name}`{remedy}")));
                }
                Value::Tuple(items) | Value::List(items) => {
                    open.extend(items.iter().map(|&item| (item, entry)));
                }
                Value::Dict(entries) => open.extend(
                    entries
                        .iter()
                        .flat_map(|&(key, value)| [(key, entry), (value, entry)]),
                ),
                _ => {}
            }
        }
        Ok(())
    }

    /// The value that the pickle is.
    pub(crate) fn root(&self) -> &Value {
        self.value(self.root)
    }

    /// The value behind an index.
    pub(crate) fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// A dict's entry under a text key.
    pub(crate) fn entry(&self, dict: &Value, key: &str) -> Option<&Value> {
        let Value::Dict(entries) = dict else {
            return None;
        };
        let found = entries
            .iter()
            .rev()
            .find(|(k, _)| matches!(self.value(*k), Value::Text(text) if text == key));
        found.map(|(_, value)| self.value(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        match Pickle::read(bytes, &[]) {
            Err(PickleError::Refused(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_of_the_shell_is_refused_by_name() {
        assert!(refusal(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.").contains("`os.system`"));
        assert!(refusal(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").contains("`builtins.eval`"));
        assert!(refusal(b"(S'ls'\nios\nsystem\n.").contains("STRING"));
        assert!(refusal(b"\x80\x02(ios\nsystem\n.").contains("INST"));
        assert!(refusal(b"\x80\x02}}b\x81.").contains("NEWOBJ"));
    }

    #[test]
    fn nested_and_self_referring_values_do_no_harm() {
        let mut deep = b"\x80\x02".to_vec();
        deep.extend(std::iter::repeat_n(b')', 1));
        deep.extend(std::iter::repeat_n(0x85, 1_000_000));
        deep.push(b'.');
        Pickle::read(&deep, &[]).unwrap();
        // l = []; l.append(l)
        Pickle::read(b"\x80\x02]q\0h\0a.", &[]).unwrap();
    }

    #[test]
    fn every_prefix_is_an_error() {
        let whole = b"\x80\x02}q\0(X\x01\0\0\0aK\x01X\x01\0\0\0b\x8a\x01\xffu.";
        let pickle = Pickle::read(whole, &[]).unwrap();
        assert_eq!(pickle.entry(pickle.root(), "b"), Some(&Value::Int(-1)));
        for len in 0..whole.len() {
            assert!(
                matches!(
                    Pickle::read(&whole[..len], &[]),
                    Err(PickleError::Malformed(_))
                ),
                "{len}"
            );
        }
    }

    /// `{"config": argparse.Namespace(), "model": {}}`
    const NAMESPACE: &[u8] =
        b"\x80\x02}(X\x06\0\0\0configcargparse\nNamespace\n)\x81}X\x01\0\0\0aK\x01sbX\x05\0\0\0model}u.";

    #[test]
    fn a_namespace_is_refused_with_the_remedy_and_skipped_where_asked() {
        match Pickle::read(NAMESPACE, &[]) {
            Err(PickleError::Refused(problem)) => assert!(
                problem.contains("`argparse.Namespace`") && problem.contains("--skip config"),
                "{problem}"
            ),
            other => panic!("{other:?}"),
        }
        let pickle = Pickle::read(NAMESPACE, &["config".to_owned()]).unwrap();
        assert!(pickle.entry(pickle.root(), "model").is_some());
    }

    #[test]
    fn skipping_an_entry_allows_no_call_in_it() {
        let bytes = b"\x80\x02}(X\x06\0\0\0configcos\nsystem\nX\x02\0\0\0ls\x85Ru.";
        match Pickle::read(bytes, &["config".to_owned()]) {
            Err(PickleError::Refused(problem)) => assert!(problem.contains("`os.system`")),
            other => panic!("{other:?}"),
        }
    }
}
