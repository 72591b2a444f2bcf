"""Two kinds of import contract that import-linter does not bring: where an outside library may be imported, and that the folders
below a package do not import each other. pyproject.toml names them under `contract_types`."""

from typing import Any, cast

from importlinter import Contract, ContractCheck, fields, output


class HomesContract(Contract):
    """Each of `packages` is imported below `homes` and nowhere else."""

    type_name = "homes"

    packages = fields.SetField(subfield=fields.StringField())
    homes = fields.SetField(subfield=fields.StringField())

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        del verbose
        strays = sorted(
            f"{importer} imports {package}"
            for package in self.packages  # type: ignore[attr-defined]
            if package in graph.modules
            for importer in graph.find_modules_that_directly_import(package)
            if not any(importer == home or importer.startswith(f"{home}.") for home in self.homes)  # type: ignore[attr-defined]
        )
        return ContractCheck(kept=not strays, metadata={"found": strays})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["found"]:
            output.print_error(line)


class IndependentFoldersContract(Contract):
    """No folder directly below `container` imports another one. Modules there, and the folders of `shared`, are for all."""

    type_name = "independent folders"

    container = fields.StringField()
    shared = fields.SetField(subfield=fields.StringField(), required=False, default=set())

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        del verbose
        container, shared = cast("str", self.container), cast("set[str]", self.shared)
        folders = {child for child in graph.find_children(container) if graph.find_children(child)} - shared
        members = {module: folder for folder in folders for module in {folder, *graph.find_descendants(folder)}}
        pairs = sorted(
            f"{module} imports {imported}"
            for module, folder in members.items()
            for imported in graph.find_modules_directly_imported_by(module)
            if members.get(imported, folder) != folder
        )
        return ContractCheck(kept=not pairs, metadata={"found": pairs})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["found"]:
            output.print_error(line)
