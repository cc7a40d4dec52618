"""List the methods and the models of pretrain, and which models each method trains."""

from . import recipes


def list() -> None:
    """Print the methods and the models, one per line."""
    print('methods: what is predicted')
    for name, method in recipes.METHODS.items():
        print(f'  {name:<14} {method.summary}; {" and ".join(method.recipes)}')
    print('\nmodels')
    for name, model in recipes.MODELS.items():
        print(f'  {name:<14} {model.summary}')
