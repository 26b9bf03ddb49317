"""The network, module by module, as the MViTv2 paper describes it."""
