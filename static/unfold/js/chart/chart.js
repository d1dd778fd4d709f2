/* In place of unfold's Chart.js, 200 kB that no page here uses: our charts are drawn by the server. */
