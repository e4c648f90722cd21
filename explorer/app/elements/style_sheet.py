"""The style sheet of all pages."""

STYLE_SHEET = """<style>
.block-container {padding: 3.6rem 1.6rem 1.5rem 1.6rem;}
@media (max-width: 640px) {.block-container {padding: 3.6rem 0.8rem 1rem 0.8rem;}}
@media (max-width: 1000px) {
  [data-testid="stMain"] [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]) {flex-wrap: wrap;}
  [data-testid="stMain"] [data-testid="stColumn"] {min-width: min(100%, 17rem); flex: 1 1 17rem;}
}
[data-testid="stSidebarContent"] {font-size: 0.92rem;}
.cards {display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); gap: 0.6rem;}
.card {border: 1px solid rgba(128,128,128,0.35); border-radius: 0.6rem; padding: 0.5rem 0.65rem; display: block;}
.card .name {font-size: 0.8rem; opacity: 0.8;}
.card .value {font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere;}
.card .more {font-size: 0.76rem; opacity: 0.8; overflow-wrap: anywhere;}
a.card, a.card:visited {color: inherit; text-decoration: none;}
a.card:hover, a.card:focus-visible {border-color: var(--st-primary-color, #0072B2); box-shadow: 0 0 0 1px currentColor;}
a.card .name::after {content: "\\00a0›";}
.places {display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 0.8rem;}
.places .card {padding: 0; overflow: hidden;}
.places img {width: 100%; aspect-ratio: 1; object-fit: cover; display: block;}
.places .more, .places .name {padding: 0 0.65rem;}
.places .name {padding-top: 0.4rem; font-weight: 600; opacity: 1;}
.places .more {padding-bottom: 0.5rem;}
.steps {display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 0.7rem;}
.step {border: 1px solid rgba(128,128,128,0.35); border-left: 0.3rem solid #D55E00;
  border-radius: 0.6rem; padding: 0.5rem 0.7rem; font-size: 0.88rem;}
.action, .action:visited {display: inline-block; padding: 0.5rem 1.1rem; border-radius: 0.5rem; font-weight: 600;
  background: #0072B2; color: #ffffff !important; text-decoration: none !important;}
.action:hover {filter: brightness(1.12);}
.link {font-weight: 600; color: var(--st-primary-color, #0072B2);}
.legend {font-size: 0.86rem; line-height: 1.7;}
.rows {width: 100%; border-collapse: collapse; font-size: 0.84rem; font-variant-numeric: tabular-nums;}
.rows th {text-align: right; font-weight: 500; opacity: 0.75; vertical-align: bottom;}
.rows td {text-align: right;}
.rows td.short {white-space: nowrap;}
.rows th, .rows td {padding: 0.22rem 0.4rem; border-bottom: 1px solid rgba(128,128,128,0.28);}
.rows th, .rows td {overflow-wrap: break-word;}
.rows th:first-child, .rows td:first-child {text-align: left; white-space: normal;}
.rows.facts td:last-child {text-align: left; white-space: normal; overflow-wrap: anywhere;}
.rows.facts td.code {font-family: monospace; overflow-wrap: normal;}
.rows abbr, .card abbr {text-decoration: underline dotted; text-underline-offset: 0.2em; cursor: help;}
[data-testid="stMultiSelectTagsContainer"] span {white-space: normal !important; height: auto !important;
  min-height: 1.4rem;}
[data-testid="stMultiSelectTagsContainer"], div:has(> [data-testid="stMultiSelectTagsContainer"])
  {max-height: none !important;}
</style>"""
