__version__ = "0.1.0"

_EXPORTS = {
    "InputError": "core",
    "OperatorWarning": "core",
    "PrivacyBudget": "privacy",
    "Ledger": "ledger",
    "secure_generator": "noise",
    "Dialect": "files",
    "write_table": "files",
    "Schema": "schema",
    "read_table": "loading",
    "bound_contributions": "loading",
    "make_telemetry": "loading",
    "telemetry_schema": "loading",
    "draft_schema": "drafts",
    "Comparison": "evaluation",
    "evaluate": "scores",
    "evaluate_privately": "private_evaluation",
    "plot_marginals": "report",
    "plot_pair_heatmap": "report",
    "Certificate": "certificate",
    "DPVAESynthesizer": "synthesizer",
    "combine": "copies",
    "replay_fit": "replay_fits",
}
__all__ = list(_EXPORTS)


def __getattr__(name):
    "Import a public name on first use, so that `import dpsynth` does not load torch."
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"dpsynth.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'dpsynth' has no attribute {name!r}")
