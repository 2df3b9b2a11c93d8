"""Phrases by which a license text is known: its title, or for texts without one the sentence that only it has.

Data only; `licenses.recognise` reads it. A phrase is written as its words in lower case; `licenses.py` compares it with a
text reduced the same way.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

_CC_CLASSES = {
    "by": "attribution",
    "by-sa": "attribution share ?alike",
    "by-nc": "attribution non ?commercial",
    "by-nc-sa": "attribution non ?commercial share ?alike",
    "by-nd": "attribution no ?deriv(s|atives)",
    "by-nc-nd": "attribution non ?commercial no ?deriv(s|atives)",
}
_CC_VERSIONS = ("2 5", "3 0", "4 0")

_PHRASES: dict[str, str] = {
    "AGPL-3.0-only": r"gnu affero general public license( gnu agpl v3)? version 3",
    "LGPL-2.0-only": r"gnu library general public license version 2",
    "LGPL-2.1-only": r"gnu lesser general public license version 2 1",
    "LGPL-3.0-only": r"gnu lesser general public license version 3",
    "GPL-1.0-only": r"gnu general public license version 1",
    "GPL-2.0-only": r"gnu general public license version 2",
    "GPL-3.0-only": r"gnu general public license version 3",
    "GFDL-1.2-only": r"gnu free documentation license version 1 2",
    "GFDL-1.3-only": r"gnu free documentation license version 1 3",
    "Apache-2.0": r"apache license version 2 0",
    "MPL-1.1": r"mozilla public license version 1 1",
    "MPL-2.0": r"mozilla public license (version |v ?)2 0",
    "EPL-1.0": r"eclipse public license (version |v ?)1 0",
    "EPL-2.0": r"eclipse public license (version |v ?)2 0",
    "EUPL-1.1": r"european union public licence v 1 1",
    "EUPL-1.2": r"european union public licence v 1 2",
    "OSL-3.0": r"open software license (osl )?v(ersion)? 3 0",
    "AFL-3.0": r"academic free license (afl )?v(ersion)? 3 0",
    "Artistic-2.0": r"(the )?artistic license 2 0",
    "BSL-1.0": r"boost software license version 1 0",
    "ISC": r"isc license|permission to use copy modify and( or)? distribute this software for any purpose with or without fee"
    r" is hereby granted provided that",
    "0BSD": r"zero clause bsd|permission to use copy modify and( or)? distribute this software for any purpose with or without"
    r" fee is hereby granted the software",
    "MIT": r"permission is hereby granted free of charge to any person obtaining a copy of this software and associated"
    r" documentation files the software to deal in the software without restriction( including without limitation the rights"
    r" to use copy modify merge publish distribute sublicense and or sell copies)?|(the )?mit license",
    "BSD-2-Clause": r"redistributions? in binary form must reproduce the above copyright notice|bsd 2 clause license",
    "Zlib": r"this software is provided as is without any express or implied warranty in no event will the authors be held",
    "Unlicense": r"this is free and unencumbered software released into the public domain",
    "CC0-1.0": r"cc0 1 0 universal",
    "WTFPL": r"do what the fuck you want to public license",
    "PostgreSQL": r"postgresql (database management system|license) ",
    "NCSA": r"university of illinois ncsa open source license",
    "OFL-1.1": r"sil open font license version 1 1",
    "ODbL-1.0": r"open database license odbl",
    "ODC-By-1.0": r"open data commons attribution license",
    "PDDL-1.0": r"(odc )?public domain dedication and licen[cs]e( pddl)?",
    "CDLA-Permissive-1.0": r"community data license agreement permissive version 1 0",
    "CDLA-Permissive-2.0": r"community data license agreement permissive version 2 0",
    "CDLA-Sharing-1.0": r"community data license agreement sharing version 1 0",
    "C-UDA-1.0": r"computational use of data agreement",
    "OpenMDW-1.0": r"openmdw license agreement version 1 0",
    "LicenseRef-openmdw-1.1": r"openmdw license agreement version 1 1",
    "LicenseRef-llama2": r"llama 2 community license agreement",
    "LicenseRef-llama3": r"llama 3 community license agreement",
    "LicenseRef-llama3.1": r"llama 3 1 community license agreement",
    "LicenseRef-llama3.2": r"llama 3 2 community license agreement",
    "LicenseRef-llama3.3": r"llama 3 3 community license agreement",
    "LicenseRef-llama4": r"llama 4 community license agreement",
    "LicenseRef-gemma": r"gemma terms of use",
    "LicenseRef-grok2-community": r"grok 2 community license agreement",
    "LicenseRef-tongyi-qianwen": r"tongyi qianwen license agreement",
    "LicenseRef-qwen-research": r"(tongyi qianwen|qwen) research license agreement",
    "LicenseRef-qwen": r"qwen license agreement",
    "LicenseRef-deepseek": r"deepseek (model )?license agreement",
    "LicenseRef-falcon-180b": r"falcon 180b tii license",
    "LicenseRef-falcon-2": r"tii falcon license 2 0|falcon 2 (11b )?tii license",
    "LicenseRef-falcon-llm": r"tii falcon llm license",
    "LicenseRef-nvidia-open-model-license": r"nvidia open models? license( agreement)?",
    "LicenseRef-mistral-research": r"mistral ai research license",
    "LicenseRef-apple-amlr": r"apple machine learning research model license",
    "LicenseRef-fair-noncommercial-research-license": r"fair noncommercial research license",
    "LicenseRef-deepfloyd-if-license": r"deepfloyd if license agreement",
    "LicenseRef-creativeml-openrail-m": r"creativeml open ?rail m",
    "LicenseRef-openrail-pp": r"creativeml open ?rail plusplus m",
    "LicenseRef-bigscience-openrail-m": r"bigscience open ?rail m",
    "LicenseRef-bigscience-bloom-rail-1.0": r"bigscience rail license v1 0",
    "LicenseRef-bigcode-openrail-m": r"bigcode open ?rail m",
    "LicenseRef-modified": r"commons clause license condition",
}
for _class, _words in _CC_CLASSES.items():
    for _version in _CC_VERSIONS:
        _PHRASES[f"CC-{_class.upper()}-{_version.replace(' ', '.')}"] = (
            rf"{_words} {_version} (international|unported|generic)"
        )

PHRASES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {license_id: re.compile(rf"(?:^| )(?:{phrase.strip()})(?: |$)") for license_id, phrase in _PHRASES.items()}
)

BSD_3_CLAUSE = re.compile(r"neither the name|the names? of .{1,200}? may not be used to endorse|bsd 3 clause license")
"""What tells the three-clause text from the two-clause one."""

CITES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "MPL-2.0": re.compile(r"A?L?GPL-.*"),
        "MPL-1.1": re.compile(r"L?GPL-.*"),
        "EPL-2.0": re.compile(r"L?GPL-.*"),
        "EUPL-1.1": re.compile(r".*"),
        "EUPL-1.2": re.compile(r".*"),
        "LGPL-2.0-only": re.compile(r"GPL-2.0-only"),
        "LGPL-2.1-only": re.compile(r"GPL-2.0-only"),
        "GFDL-1.3-only": re.compile(r"CC-BY-SA-3.0"),
    }
)
"""Licenses that a text names without granting them, such as those it may be converted to."""
