//! XMesh: the mesh as an object, for what it says of itself (GEP-3949).

use serde::Deserialize;

/// What an XMesh asks for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshSpec {
    /// The controller that the mesh belongs to; ours is `fairway.dev/controller`.
    pub controller_name: String,
    /// Settings of an implementation; Fairway takes none.
    pub parameters_ref: Option<ParametersRef>,
}

/// A reference to settings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ParametersRef {
    /// The kind that `spec.parametersRef` names, for the message.
    pub kind: String,
    /// The object that `spec.parametersRef` names, for the message.
    pub name: String,
}
