"""Parts of pages that know no tile and no run: styles, words with their meaning, exports, progress."""
