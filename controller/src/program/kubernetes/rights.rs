//! What GatewayParameters may choose, as the administrator says it.

use crate::provision::{NotARight, Right, Rights};

/// What GatewayParameters may choose.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct RightsArguments {
    /// Fields of GatewayParameters that are rights, and that the parameters of Gateways may set nevertheless, such as
    /// pod.tolerations (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_TENANT_FIELDS", value_delimiter = ',', value_name = "FIELD")]
    tenant_fields: Vec<Right>,

    /// Images that GatewayParameters may name: with any tag or digest, or ending in / any below it (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_ALLOWED_IMAGES", value_delimiter = ',', value_name = "IMAGE")]
    allowed_images: Vec<String>,

    /// Priority classes that GatewayParameters may name (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_ALLOWED_PRIORITY_CLASSES", value_delimiter = ',', value_name = "NAME")]
    allowed_priority_classes: Vec<String>,

    /// Annotations with a domain that GatewayParameters may give to pods: a key, or example.com/ for all of a domain (only
    /// with --kubernetes)
    #[arg(long, env = "FAIRWAY_ALLOWED_ANNOTATIONS", value_delimiter = ',', value_name = "KEY")]
    allowed_annotations: Vec<String>,

    /// The most replicas that GatewayParameters may ask for (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_MAX_REPLICAS", default_value_t = Rights::default().max_replicas, value_name = "NUMBER",
          value_parser = clap::value_parser!(i32).range(1..=1000))]
    max_replicas: i32,
}

// === impl RightsArguments ===

impl RightsArguments {
    pub(super) fn rights(&self) -> Rights {
        Rights {
            tenant_fields: self.tenant_fields.iter().copied().collect(),
            images: Some(self.allowed_images.clone()),
            priority_classes: Some(self.allowed_priority_classes.clone()),
            annotations: Some(self.allowed_annotations.clone()),
            max_replicas: self.max_replicas,
        }
    }
}

/// As an installed controller is told by its arguments; what makes no sense there gives no right.
pub(crate) fn told<'a>(argument: impl Fn(&str) -> Option<&'a str>) -> Rights {
    let list = |name: &str| -> Vec<String> {
        let text = argument(name).unwrap_or_default();
        text.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()
    };
    let fields = list("tenant-fields");
    Rights {
        tenant_fields: fields.iter().filter_map(|it| it.parse().map_err(|_: NotARight| ()).ok()).collect(),
        images: Some(list("allowed-images")),
        priority_classes: Some(list("allowed-priority-classes")),
        annotations: Some(list("allowed-annotations")),
        max_replicas: argument("max-replicas")
            .and_then(|it| it.parse().ok())
            .unwrap_or(Rights::default().max_replicas),
    }
}
