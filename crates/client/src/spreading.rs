/// Whether requests are spread over the addresses of their names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Spreading {
    #[default]
    Off,
    On,
}
