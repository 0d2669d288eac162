//! Attributes: type, length, value, the value often attributes again.

const HEADER: usize = 4;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// An attribute to send, or to find in what the kernel sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    kind: u16,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Bytes(Vec<u8>),
    Nested(Vec<Attribute>),
}

// === impl Attribute ===

impl Attribute {
    pub(crate) fn bytes(kind: u16, value: impl Into<Vec<u8>>) -> Self {
        Self { kind, value: Value::Bytes(value.into()) }
    }

    /// Numbers of routing messages are in the machine's order.
    pub(crate) fn u32(kind: u16, value: u32) -> Self {
        Self::bytes(kind, value.to_ne_bytes())
    }

    /// Numbers of nf_tables messages are in the network's order.
    pub(crate) fn be32(kind: u16, value: u32) -> Self {
        Self::bytes(kind, value.to_be_bytes())
    }

    pub(crate) fn text(kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        Self::bytes(kind, bytes)
    }

    pub(crate) fn nested(kind: u16, value: Vec<Self>) -> Self {
        Self { kind, value: Value::Nested(value) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; HEADER]);
        let kind = match &self.value {
            Value::Bytes(bytes) => {
                out.extend(bytes);
                self.kind
            }
            Value::Nested(inner) => {
                for attribute in inner {
                    attribute.encode(out);
                }
                self.kind | NESTED
            }
        };
        let length = (out.len() - start) as u16;
        if let Some(header) = out.get_mut(start..start + HEADER) {
            header[..2].copy_from_slice(&length.to_ne_bytes());
            header[2..].copy_from_slice(&kind.to_ne_bytes());
        }
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// The attributes in `bytes`, as far as they are well formed.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let [l0, l1, k0, k1] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1])).checked_sub(HEADER)?;
        let value = rest.get(..length)?;
        bytes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & TYPE_MASK, value))
    })
}

/// Whether what the kernel has is what was sent: each attribute that was sent is there with the same value. It may add
/// others (handles, defaults), but nothing to a list.
pub(crate) fn covers(kernel: &[u8], sent: &[Attribute]) -> bool {
    let is_list = sent.len() > 1 && sent.iter().all(|attribute| attribute.kind == sent[0].kind);
    if is_list {
        let found: Vec<_> = attributes(kernel).collect();
        return found.len() == sent.len()
            && found
                .iter()
                .zip(sent)
                .all(|((kind, value), wanted)| *kind == wanted.kind && equals(value, wanted));
    }
    sent.iter().all(|wanted| {
        attributes(kernel)
            .find(|(kind, _)| *kind == wanted.kind)
            .is_some_and(|(_, value)| equals(value, wanted))
    })
}

fn equals(value: &[u8], wanted: &Attribute) -> bool {
    match &wanted.value {
        Value::Bytes(bytes) => value == bytes,
        Value::Nested(inner) => covers(value, inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(attributes: &[Attribute]) -> Vec<u8> {
        let mut out = Vec::new();
        attributes.iter().for_each(|attribute| attribute.encode(&mut out));
        out
    }

    #[test]
    fn an_attribute_is_padded_but_its_length_is_not() {
        let bytes = encoded(&[Attribute::text(3, "lo"), Attribute::u32(4, 1)]);
        assert_eq!(bytes.len(), 8 + 8);
        assert_eq!(bytes[..2], 7u16.to_ne_bytes());
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read, [(3, b"lo\0".as_slice()), (4, 1u32.to_ne_bytes().as_slice())]);
    }

    #[test]
    fn cut_off_or_lying_attributes_end_the_reading() {
        for bytes in [&[][..], &[8, 0], &[3, 0, 1, 0], &[9, 0, 1, 0, 1, 2, 3, 4], &[0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn what_the_kernel_adds_is_no_difference_and_what_it_lacks_or_changed_is() {
        let rule = |port| vec![Attribute::nested(4, vec![Attribute::be32(1, port)]), Attribute::text(1, "t")];
        let kernel = encoded(&[Attribute::text(1, "t"), Attribute::be32(9, 7), rule(80)[0].clone()]);
        assert!(covers(&kernel, &rule(80)));
        assert!(!covers(&kernel, &rule(81)));
        assert!(!covers(&encoded(&rule(80)[..1]), &rule(80)));
    }

    #[test]
    fn a_list_is_equal_only_in_the_same_order_and_length() {
        let list = |values: &[u32]| values.iter().map(|value| Attribute::be32(1, *value)).collect::<Vec<_>>();
        assert!(covers(&encoded(&list(&[1, 2])), &list(&[1, 2])));
        assert!(!covers(&encoded(&list(&[2, 1])), &list(&[1, 2])));
        assert!(!covers(&encoded(&list(&[1, 2, 3])), &list(&[1, 2])));
    }
}
