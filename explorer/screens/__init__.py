"""The pages. They ask, and draw; what they draw comes from functions that know no Streamlit."""
