"""Reads documents of NeMo Evaluator 0.2, run configurations and the launcher's, as docs/nemo.md describes.

`read` takes all layers of a command, before aliases are replaced and layers merged. `translate` takes one.
"""

from evaldock_entrypoints.contract.nemo.draft import Note as Note
from evaldock_entrypoints.contract.nemo.reading import Reading as Reading
from evaldock_entrypoints.contract.nemo.reading import read as read
from evaldock_entrypoints.contract.nemo.translation import Translation as Translation
from evaldock_entrypoints.contract.nemo.translation import is_nemo as is_nemo
from evaldock_entrypoints.contract.nemo.translation import translate as translate
