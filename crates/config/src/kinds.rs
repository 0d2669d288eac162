//! The table of resource kinds: one row for each.
//!
//! What has to know every kind is made from it: the kinds and their keys (`model::key`), the resource (`model`), the tables
//! of a snapshot (`snapshot`), the dispatch to the wire format (`wire::key`, `wire::resource`), and the strategy that makes
//! any resource (`arbitrary`). A new kind takes a row here, a file in `model` and one in `wire`, and its messages in `proto/`.

/// Calls a macro with all rows.
///
/// The name of a row is the name of its type in `model`, of its variant in [`crate::model::Resource`] and
/// [`crate::model::ResourceKind`], and of its variants in the protobuf `Resource` and `ResourceKind`. Then, in each row:
///
/// - `table`: the field of [`crate::Snapshot`] that holds the resources of this kind.
/// - `key`: the type of its key, and how a resource says it.
/// - `wire`: the module in `wire` that encodes and decodes it, and the strategy in `arbitrary` that makes one.
///
/// What a resource refers to it says itself, by [`crate::model::References`].
macro_rules! for_each_kind {
    ($each:ident) => {
        $each! {
            /// A place where a proxy accepts connections.
            Listener { table: listeners, key: ListenerKey = |it| it.key.clone(), wire: listener }
            /// Rules bound to listeners or Services.
            Route { table: routes, key: RouteKey = |it| it.key.clone(), wire: route }
            /// A port of a Service: how to speak to it.
            Backend { table: backends, key: BackendKey = |it| it.key.clone(), wire: backend }
            /// Where the endpoints of a backend are, under the key of the backend.
            Endpoints { table: endpoints, key: BackendKey = |it| it.backend.clone(), wire: endpoints }
            /// A certificate and its private key.
            Certificate { table: certificates, key: CertificateKey = |it| it.key.clone(), wire: certificate }
            /// A Service as a destination: its addresses and its waypoint.
            Service { table: services, key: ServiceKey = |it| it.key.clone(), wire: service }
            /// A pod: its addresses, its identity, and what applies to it.
            Workload { table: workloads, key: WorkloadKey = |it| it.key.clone(), wire: workload }
            /// Who may connect to the workloads that name it.
            Authorization {
                table: authorizations, key: AuthorizationKey = |it| it.name.clone().into(), wire: authorization
            }
            /// A route that does not look into what it carries.
            L4Route { table: l4_routes, key: RouteKey = |it| it.key.clone(), wire: l4_route }
            /// How often requests may come.
            RateLimit { table: rate_limits, key: RateLimitKey = |it| it.name.clone().into(), wire: rate_limit }
            /// How clients say who they are.
            Authentication {
                table: authentications, key: AuthenticationKey = |it| it.name.clone().into(), wire: authentication
            }
        }
    };
}

pub(crate) use for_each_kind;
