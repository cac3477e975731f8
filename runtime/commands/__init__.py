"""The verbs of the runtime, one file each; see dlc_deploy.command for what such a file offers."""
