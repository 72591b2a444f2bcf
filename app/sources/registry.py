"""Every source by its name: the one line that adding a provider needs, beside its file."""

from collections.abc import Mapping

from app.sources import (
    calcom,
    calendly,
    clerk,
    elementor,
    formbricks,
    gravityforms,
    hubspot,
    jotform,
    netlify,
    supabase,
    tally,
    typeform,
    webflow,
    wpforms,
)
from app.sources.base import Source
from app.sources.presets import PRESETS
from app.sources.stripe import source as stripe_source

FIRST_CLASS: tuple[Source, ...] = (
    stripe_source.SOURCE,
    typeform.SOURCE,
    tally.SOURCE,
    jotform.SOURCE,
    calendly.SOURCE,
    calcom.SOURCE,
    hubspot.SOURCE,
    webflow.SOURCE,
    wpforms.SOURCE,
    gravityforms.SOURCE,
    elementor.SOURCE,
    formbricks.SOURCE,
    clerk.SOURCE,
    supabase.SOURCE,
    netlify.SOURCE,
)

SOURCES: Mapping[str, Source] = {source.name: source for source in (*FIRST_CLASS, *PRESETS.values())}
