//! XMP packets as a flat list of properties.
//!
//! A property inside a structure is named by its path
//! (`drone-skydio:CameraOrientationNED/drone-skydio:Yaw`), whether the packet writes it as
//! element or as attribute.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

const MAX_BYTES: usize = 4 << 20;
const MAX_PROPERTIES: usize = 10_000;
const MAX_DEPTH: usize = 32;

/// The properties of a packet in order.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Xmp {
    properties: Vec<(String, String)>,
}

impl Xmp {
    /// Reads a packet; where it is malformed, what stands before counts.
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        if text.len() > MAX_BYTES {
            return found;
        }
        // Some writers put bytes before the packet.
        let start = text.find('<').unwrap_or(text.len());
        let mut reader = Reader::from_str(&text[start..]);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        let mut names = Names::default();
        let mut path: Vec<String> = Vec::new();
        while found.properties.len() < MAX_PROPERTIES {
            match reader.read_event() {
                Ok(Event::Start(element)) if path.len() < MAX_DEPTH => {
                    found.open(&element, &mut names, &mut path);
                }
                Ok(Event::Empty(element)) if path.len() < MAX_DEPTH => {
                    found.open(&element, &mut names, &mut path);
                    path.pop();
                }
                Ok(Event::End(_)) => {
                    path.pop();
                }
                Ok(Event::Text(value)) => {
                    if let Ok(value) = value.decode() {
                        found.add(&path, None, value.trim());
                    }
                }
                Ok(Event::Eof | Event::Start(_) | Event::Empty(_)) | Err(_) => break,
                Ok(_) => {}
            }
        }
        found
    }

    /// The first property of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.properties.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A property as a number: `+12.5`, `12.5`, `819200/65536`.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        number(self.get(name)?)
    }

    fn open(&mut self, element: &BytesStart<'_>, names: &mut Names, path: &mut Vec<String>) {
        for attribute in element.attributes().with_checks(false).flatten() {
            let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
            if let Some(prefix) = key.strip_prefix("xmlns:") {
                let uri = String::from_utf8_lossy(&attribute.value).into_owned();
                names.declare(prefix, &uri);
            }
        }
        let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
        path.push(names.canonical(&name));
        for attribute in element.attributes().with_checks(false).flatten() {
            let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
            if key.starts_with("xmlns") {
                continue;
            }
            let value = String::from_utf8_lossy(&attribute.value).into_owned();
            self.add(path, Some(&names.canonical(&key)), value.trim());
        }
    }

    fn add(&mut self, path: &[String], attribute: Option<&str>, value: &str) {
        if value.is_empty() || self.properties.len() >= MAX_PROPERTIES {
            return;
        }
        let is_own = |name: &&str| !name.starts_with("rdf:") && !name.starts_with("x:");
        let names: Vec<&str> = path
            .iter()
            .map(String::as_str)
            .chain(attribute)
            .filter(is_own)
            .collect();
        if !names.is_empty() {
            self.properties.push((names.join("/"), value.to_owned()));
        }
    }
}

/// Prefixes as this packet declares them.
#[derive(Default)]
struct Names {
    declared: Vec<(String, &'static str)>,
}

impl Names {
    /// Prefixes are free; the makers' namespaces are known by their addresses.
    fn declare(&mut self, prefix: &str, uri: &str) {
        let known = [
            ("dji.com/drone-dji", "drone-dji"),
            ("pix4d.com/camera", "Camera"),
            ("sensefly.com/Camera", "Camera"),
            ("parrot.com/drone-parrot", "drone-parrot"),
            ("skydio.com/drone-skydio", "drone-skydio"),
        ];
        if let Some((_, name)) = known.iter().find(|(part, _)| uri.contains(part))
            && self.declared.len() < MAX_DEPTH
        {
            self.declared.push((prefix.to_owned(), name));
        }
    }

    fn canonical(&self, name: &str) -> String {
        let Some((prefix, local)) = name.split_once(':') else {
            return name.to_owned();
        };
        let known = self
            .declared
            .iter()
            .find(|(declared, _)| declared == prefix);
        format!("{}:{local}", known.map_or(prefix, |(_, name)| name))
    }
}

/// A finite number, plain or as a fraction.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = match text.split_once('/') {
        Some((n, d)) => n.trim().parse::<f64>().ok()? / d.trim().parse::<f64>().ok()?,
        None => text.strip_prefix('+').unwrap_or(text).parse().ok()?,
    };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="r"><rdf:Description "#;

    #[test]
    fn attributes_and_elements_are_one() {
        let attributes = Xmp::parse(&format!(
            r#"{HEAD} xmlns:d="http://www.dji.com/drone-dji/1.0/" d:GimbalYawDegree="+12.50"/></rdf:RDF></x:xmpmeta>"#
        ));
        let elements = Xmp::parse(&format!(
            r#"{HEAD}><drone-dji:GimbalYawDegree> +12.50 </drone-dji:GimbalYawDegree></rdf:Description>"#
        ));
        assert_eq!(attributes.number("drone-dji:GimbalYawDegree"), Some(12.5));
        assert_eq!(elements.number("drone-dji:GimbalYawDegree"), Some(12.5));
    }

    #[test]
    fn structures_are_paths_in_both_forms() {
        let name = "drone-skydio:CameraOrientationNED/drone-skydio:Yaw";
        for body in [
            r#"><drone-skydio:CameraOrientationNED rdf:parseType="Resource"><drone-skydio:Yaw>3.5</drone-skydio:Yaw></drone-skydio:CameraOrientationNED>"#,
            r#"><drone-skydio:CameraOrientationNED drone-skydio:Yaw="3.5" drone-skydio:Pitch="-90"/>"#,
            r#"><drone-skydio:CameraOrientationNED><rdf:Description drone-skydio:Yaw="3.5"/></drone-skydio:CameraOrientationNED>"#,
        ] {
            assert_eq!(
                Xmp::parse(&format!("{HEAD}{body}")).number(name),
                Some(3.5),
                "{body}"
            );
        }
    }

    #[test]
    fn numbers_in_all_spellings() {
        assert_eq!(number("+0819.5"), Some(819.5));
        assert_eq!(number("4971569/65536"), Some(4_971_569.0 / 65_536.0));
        for nonsense in ["", "NaN", "inf", "1/0", "12m", "--1", "1e999"] {
            assert_eq!(number(nonsense), None, "{nonsense}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", xml in "[<>/a-z:=\"' !\\[\\]&;-]{0,200}") {
            Xmp::parse(&text);
            Xmp::parse(&xml);
        }
    }
}
