//! What stays in force of objects that were in order once and are not any more: the certificates of Secrets.
//!
//! Compiling knows only what objects say now. So what was good is carried along with the object here, at the edge.

use crate::resources::{Edit, LastGoodPair, Object, ObjectRef};
use std::collections::HashMap;
use std::sync::Arc;

/// Remembers what was good.
#[derive(Debug, Default)]
pub struct LastGood {
    pairs: HashMap<ObjectRef, LastGoodPair>,
}

// === impl LastGood ===

impl LastGood {
    /// Gives each Secret whose certificate is not in order the one it had. A Secret that is deleted leaves nothing behind.
    pub fn carry(&mut self, edits: &mut [Edit]) {
        for edit in edits {
            match edit {
                Edit::Upsert(Object::Secret(secret)) => {
                    let object = Object::Secret(secret.clone()).reference();
                    if let Some(pair) = secret.good_pair() {
                        self.pairs.insert(object, pair);
                    } else if let Some(pair) = self.pairs.get(&object) {
                        Arc::make_mut(secret).last_good = Some(pair.clone());
                    }
                }
                Edit::Remove(object) => {
                    self.pairs.remove(object);
                }
                Edit::Upsert(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::objects;

    fn secret(certificate: &str, key: &str) -> Edit {
        let [certificate, key] = [certificate, key].map(|it| serde_json::Value::String(it.to_owned()));
        let yaml = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: pair, namespace: edge }}\ntype: kubernetes.io/tls\n\
             stringData: {{ tls.crt: {certificate}, tls.key: {key} }}\n"
        );
        Edit::Upsert(objects(&yaml).remove(0))
    }

    fn good() -> Edit {
        let made = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
        secret(&made.cert.pem(), &made.signing_key.serialize_pem())
    }

    fn carried(it: &mut LastGood, edit: &Edit) -> Option<LastGoodPair> {
        let mut edits = [edit.clone()];
        it.carry(&mut edits);
        match edits {
            [Edit::Upsert(Object::Secret(it))] => it.last_good.clone(),
            _ => None,
        }
    }

    #[test]
    fn a_secret_that_breaks_keeps_the_pair_it_had_until_it_is_repaired_or_deleted() {
        let mut it = LastGood::default();
        let broken = secret("rubbish", "rubbish");
        assert!(carried(&mut it, &broken).is_none(), "it was never good");
        let (first, second) = (good(), good());
        assert!(carried(&mut it, &first).is_none(), "what it holds is in order");
        let kept = carried(&mut it, &broken);
        assert!(kept.is_some());
        assert_eq!(carried(&mut it, &secret("", "")), kept, "broken in another way");
        assert!(carried(&mut it, &second).is_none());
        assert_ne!(carried(&mut it, &broken), kept, "the newer one");
        it.carry(&mut [Edit::Remove(first.object())]);
        assert!(carried(&mut it, &broken).is_none(), "deleted is deleted");
    }
}
