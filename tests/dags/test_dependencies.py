"""Who may import whom: dags -> route_dags -> operators -> airflow_bridge -> skyferry; Airflow above the library."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path

import pytest

from tests.airflow_home import PROJECT

PLUGINS = PROJECT / "plugins"
PLUGIN_PACKAGES = sorted(path.name for path in PLUGINS.iterdir() if (path / "__init__.py").exists())
CLIENTS = {"aiobotocore", "aiohttp", "azure", "boto3", "botocore", "google", "obstore", "pycurl"}

# What the files of a folder must not import.
FORBIDDEN = {
    "include/skyferry": {"airflow", *PLUGIN_PACKAGES},
    "plugins/airflow_bridge": {*PLUGIN_PACKAGES} - {"airflow_bridge"},
    # An interface beside the DAGs: whatever it does, it asks Airflow or the library to do.
    "plugins/transfer_api": CLIENTS | ({*PLUGIN_PACKAGES} - {"airflow_bridge", "transfer_api"}),
    "plugins/operators": CLIENTS | {"route_dags", "sensors", "transfer_api", "triggers"},
    "plugins/sensors": CLIENTS | {"route_dags", "operators", "transfer_api"},
    "plugins/triggers": CLIENTS | {"route_dags", "operators", "sensors", "transfer_api"},
    "plugins/route_dags": CLIENTS | {"transfer_api"},
    "dags": CLIENTS | {"transfer_api"},
}


def imported_modules(path: Path) -> set[str]:
    """Return the names a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def python_files(folder: str) -> list[Path]:
    files = sorted((PROJECT / folder).rglob("*.py"))
    assert files, f"{folder} has no Python files"
    return files


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_dependencies_point_one_way(folder):
    offenders = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in python_files(folder)
        for name in imported_modules(path)
        if name.split(".")[0] in FORBIDDEN[folder]
    }
    assert offenders == set()


def test_the_rule_sees_imports_inside_functions(tmp_path):
    (tmp_path / "sly.py").write_text("def f():\n    from airflow.sdk import DAG\n")
    assert imported_modules(tmp_path / "sly.py") == {"airflow.sdk"}


def plugin_stems() -> list[str]:
    return [path.stem for path in PLUGINS.rglob("*.py") if path.stem != "__init__"] + PLUGIN_PACKAGES


def test_no_plugin_is_named_like_an_installed_module():
    distributions = importlib.metadata.packages_distributions().items()
    others = {name for name, owners in distributions if set(owners) != {"skyferry"}}
    assert not set(plugin_stems()) & (others | set(sys.stdlib_module_names))


def test_no_two_plugins_share_a_name():
    stems = plugin_stems()
    assert len(stems) == len(set(stems))


def test_airflow_executes_the_plugin_file_only():
    import airflow.plugins_manager as manager

    plugins = [plugin for plugin in manager._get_plugins()[0] if plugin.name == "skyferry"]
    assert len(plugins) == 1
    executed = {path.stem for path in PLUGINS.rglob("*.py")} & set(sys.modules)
    assert executed <= {"skyferry_plugin"}
