"""What the config that mmengine keeps in a checkpoint says about the backbone."""

import ast
from collections.abc import Mapping

from .files import CheckpointError


class _AsLiteral(ast.NodeTransformer):
    """``dict(a=1)`` -> ``{'a': 1}``, which ``ast.literal_eval`` accepts."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if getattr(node.func, 'id', None) != 'dict' or node.args:
            return node
        keys = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def read_backbone_config(meta: Mapping) -> dict:
    """The literal ``model.backbone`` of the config's text in a checkpoint's meta.

    The text is read as data and never executed. Without a config the result is empty.

    Raises:
        CheckpointError: if the text does not name ``model.backbone`` as plain data.
    """
    try:
        for statement in ast.parse(meta.get('cfg', '')).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets) == 'model':
                return ast.literal_eval(_AsLiteral().visit(statement.value))['backbone']
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the config in the checkpoint's meta['cfg'] does not name model.backbone as plain "
            f"data ({error!r}): remove meta['cfg'] from the file and give num_heads instead."
        ) from error
    return {}


def describe_backbone(meta: Mapping) -> dict:
    """The options of the backbone that a checkpoint's meta names; empty if none are readable."""
    try:
        return read_backbone_config(meta) or dict(meta)
    except CheckpointError:
        return {}
