//! The network configuration with our plugin at the end of the chain. Pure.
//!
//! The runtime uses the first file of its directory, by name. Our file is generated from the first file of another CNI, has a name
//! that sorts before it, and keeps the entries of the other plugins byte for byte. The other file stays unchanged. If its owner
//! writes it again, no pod starts without our plugin meanwhile. After a boot our file is there before our pods run.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Names of our file, in order of preference. The first that sorts before the other files is used.
const NAMES: [&str; 2] = ["00-fairway.conflist", "0-fairway.conflist"];
/// Extensions of the files that the runtime reads.
const EXTENSIONS: [&str; 3] = [".conf", ".conflist", ".json"];
/// Keys of a single-plugin file that belong to the list, not to the plugin.
const LIST_KEYS: [&str; 4] = ["cniVersion", "name", "disableCheck", "disableGC"];

/// Our plugin's type in a configuration, which is also the name of its executable.
pub const PLUGIN: &str = "fairway-cni";

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The name of the file, without its directory.
    pub name: String,
    /// The content of the file.
    pub text: String,
}

/// The next change to the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Our file is up to date, or there is no configuration to extend yet.
    Nothing,
    /// Write our file, under this name and with this content.
    Write(File),
    /// Remove our file of this name: the one that it was generated from is gone, or our file has another name now.
    Remove(String),
}

/// Why our plugin cannot be added to the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConflistError {
    /// The first file is invalid; the runtime would reject it, too.
    #[error("{name}: {why}")]
    Unreadable {
        /// The name of the file.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The other file sorts before each of our names.
    #[error("{0} comes before every name that Fairway's file could have; rename it")]
    ComesFirst(String),
}

/// Whether `name` is one of our file names.
pub fn is_ours(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Plans the next change, from the files of the directory. `entry` is our plugin's entry, as JSON. Call it again after the change
/// until it returns [`Plan::Nothing`].
pub fn plan(files: &[File], entry: &str) -> Result<Plan, ConflistError> {
    let is_configuration = |it: &&File| EXTENSIONS.iter().any(|ending| it.name.ends_with(ending));
    let mut others: Vec<&File> =
        files.iter().filter(is_configuration).filter(|it| !is_ours(&it.name)).collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    let ours = files.iter().find(|it| is_ours(&it.name));
    let mut unreadable = None;
    for other in others {
        match append_plugin(other, entry) {
            Ok(text) => {
                let name = NAMES.iter().find(|name| ***name < *other.name);
                let name = name.ok_or_else(|| ConflistError::ComesFirst(other.name.clone()))?;
                // Write before removing: a file of ours always exists.
                if !files.iter().any(|it| it.name == *name && it.text == text) {
                    return Ok(Plan::Write(File { name: (*name).to_owned(), text }));
                }
                let old = files.iter().find(|it| is_ours(&it.name) && it.name != *name);
                return Ok(old.map_or(Plan::Nothing, |it| Plan::Remove(it.name.clone())));
            }
            // The runtime also skips an invalid file.
            Err(error) => unreadable = unreadable.or(Some(error)),
        }
    }
    match (unreadable, ours) {
        // The file may be half written. Our file from its last valid version stays.
        (Some(error), _) => Err(error),
        (None, Some(ours)) => Ok(Plan::Remove(ours.name.clone())),
        (None, None) => Ok(Plan::Nothing),
    }
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    r#type: String,
}

type Object<'a> = BTreeMap<String, &'a RawValue>;

/// The configuration in `file` with `entry` at the end of its plugins.
fn append_plugin(file: &File, entry: &str) -> Result<String, ConflistError> {
    let wrong = |why: String| ConflistError::Unreadable { name: file.name.clone(), why };
    let object: Object<'_> = serde_json::from_str(&file.text).map_err(|error| wrong(error.to_string()))?;
    let (mut list, plugins): (Object<'_>, Vec<&RawValue>) = match object.get("plugins") {
        Some(plugins) => {
            let read =
                serde_json::from_str(plugins.get()).map_err(|error| wrong(format!("plugins: {error}")))?;
            (object.clone(), read)
        }
        // A single-plugin file (`.conf`) becomes a list with one plugin.
        None if object.contains_key("type") => {
            let whole: &RawValue =
                serde_json::from_str(file.text.trim()).map_err(|error| wrong(error.to_string()))?;
            let of_list = object.iter().filter(|(key, _)| LIST_KEYS.contains(&key.as_str()));
            (of_list.map(|(key, value)| (key.clone(), *value)).collect(), vec![whole])
        }
        None => return Err(wrong("it has neither `plugins` nor `type`".to_owned())),
    };
    if plugins.is_empty() {
        return Err(wrong("plugins: is empty".to_owned()));
    }
    if !list.contains_key("name") {
        return Err(wrong("it has no `name`".to_owned()));
    }
    list.remove("plugins");
    let mut text = String::from("{");
    for (key, value) in &list {
        let key = serde_json::to_string(key).map_err(|error| wrong(error.to_string()))?;
        text.push_str(&format!("\n  {key}: {},", value.get()));
    }
    text.push_str("\n  \"plugins\": [");
    for plugin in plugins {
        let kind: Kind =
            serde_json::from_str(plugin.get()).map_err(|error| wrong(format!("plugins: {error}")))?;
        // The file may be a copy of ours.
        if kind.r#type != PLUGIN {
            text.push_str(&format!("\n    {},", plugin.get()));
        }
    }
    text.push_str(&format!("\n    {entry}\n  ]\n}}\n"));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"type":"fairway-cni"}"#;

    fn file(name: &str, text: &str) -> File {
        File { name: name.to_owned(), text: text.to_owned() }
    }

    fn written(files: &[File]) -> File {
        match plan(files, ENTRY) {
            Ok(Plan::Write(file)) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_gets_our_plugin_at_its_end_and_keeps_the_others_to_the_byte() {
        let theirs = "{ \"name\": \"pods\",\n  \"cniVersion\": \"1.0.0\",\n \"plugins\": [\n  {\"type\":  \"ptp\", \"mtu\": 1.50e3},\n\t{ \"type\": \"portmap\", \"snat\":true }\n ] }";
        let made = written(&[file("10-net.conflist", theirs)]);
        assert_eq!(made.name, "00-fairway.conflist");
        assert_eq!(
            made.text,
            "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"pods\",\n  \"plugins\": [\n    {\"type\":  \"ptp\", \"mtu\": 1.50e3},\n    { \"type\": \"portmap\", \"snat\":true },\n    {\"type\":\"fairway-cni\"}\n  ]\n}\n"
        );
        // It is as it should be now; and when theirs changes, ours follows.
        let both = [file("10-net.conflist", theirs), made.clone()];
        assert_eq!(plan(&both, ENTRY), Ok(Plan::Nothing));
        let newer = [file("10-net.conflist", &theirs.replace("1.50e3", "9000")), made];
        assert!(written(&newer).text.contains("\"mtu\": 9000"));
    }

    #[test]
    fn a_file_of_one_plugin_becomes_a_list() {
        let made = written(&[file(
            "05-old.conf",
            r#"{"cniVersion":"0.3.1","name":"net","type":"bridge","bridge":"br0"}"#,
        )]);
        let read: serde_json::Value = serde_json::from_str(&made.text).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "cniVersion": "0.3.1", "name": "net",
                "plugins": [
                    { "cniVersion": "0.3.1", "name": "net", "type": "bridge", "bridge": "br0" },
                    { "type": "fairway-cni" },
                ],
            })
        );
    }

    #[test]
    fn the_file_that_the_runtime_would_take_is_the_one() {
        let list =
            |name: &str| format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"x"}}]}}"#);
        let files = [
            file("20-b.conflist", &list("b")),
            file("10-a.json", &list("a")),
            file("05-kept.conflist.bak", &list("kept")),
            file("07-broken.conf", "{"),
        ];
        assert!(written(&files).text.contains(r#""name": "a""#));
        // In a chain that somebody copied from ours we are not twice.
        let copied = r#"{"name":"a","plugins":[{"type":"x"},{"type":"fairway-cni","old":1}]}"#;
        assert_eq!(written(&[file("10-a.conflist", copied)]).text.matches("fairway-cni").count(), 1);
    }

    #[test]
    fn our_name_comes_before_theirs_or_it_is_said() {
        let list = r#"{"name":"a","plugins":[{"type":"x"}]}"#;
        for (theirs, ours) in [
            ("00-multus.conf", "00-fairway.conflist"),
            ("00-a.conflist", "0-fairway.conflist"),
            ("a.conf", "00-fairway.conflist"),
        ] {
            assert_eq!(written(&[file(theirs, list)]).name, ours);
        }
        assert_eq!(
            plan(&[file("!first.conf", list)], ENTRY).unwrap_err().to_string(),
            "!first.conf comes before every name that Fairway's file could have; rename it"
        );
        // The name we had does not come first any more: there is another, and then the old one goes.
        let mut files = vec![file("00-a.conflist", list), file("00-fairway.conflist", "{}")];
        files.push(written(&files));
        assert_eq!(plan(&files, ENTRY), Ok(Plan::Remove("00-fairway.conflist".into())));
    }

    #[test]
    fn without_anybody_elses_file_there_is_none_of_ours_and_a_broken_one_changes_nothing() {
        let ours =
            file("00-fairway.conflist", r#"{"name":"a","plugins":[{"type":"x"},{"type":"fairway-cni"}]}"#);
        assert_eq!(plan(&[], ENTRY), Ok(Plan::Nothing));
        assert_eq!(plan(std::slice::from_ref(&ours), ENTRY), Ok(Plan::Remove("00-fairway.conflist".into())));
        for (text, why) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("[]", "invalid type: sequence, expected a map at line 1 column 0"),
            ("{}", "it has neither `plugins` nor `type`"),
            (r#"{"name":"a","plugins":[]}"#, "plugins: is empty"),
            (r#"{"plugins":[{"type":"x"}]}"#, "it has no `name`"),
            (
                r#"{"name":"a","plugins":{}}"#,
                "plugins: invalid type: map, expected a sequence at line 1 column 0",
            ),
        ] {
            let error = plan(&[file("10-a.conflist", text), ours.clone()], ENTRY).unwrap_err();
            assert_eq!(error.to_string(), format!("10-a.conflist: {why}"));
        }
    }
}
