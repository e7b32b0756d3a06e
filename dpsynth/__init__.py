__version__ = "0.1.0"

_EXPORTS = {
    "Schema": "schema",
    "read_table": "loading",
    "write_table": "files",
    "Dialect": "files",
    "draft_schema": "drafts",
    "make_telemetry": "loading",
    "telemetry_schema": "loading",
    "PrivacyBudget": "privacy",
    "Ledger": "privacy",
    "InputError": "privacy",
    "OperatorWarning": "privacy",
    "DPVAESynthesizer": "synthesizer",
    "Certificate": "synthesizer",
}
__all__ = list(_EXPORTS)


def __getattr__(name):
    "Import a public name on first use, so that `import dpsynth` does not load torch."
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"dpsynth.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'dpsynth' has no attribute {name!r}")
