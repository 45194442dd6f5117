"""What a notebook holds in hand: the study object, findings, figures, tables, and the manifest of what it wrote.
Imports all other rooms but `sample`.

How a notebook is written. It is an essay that answers one question, and its first screen alone gives the answer.

1. Title: the question, then one or two sentences on why it is asked. The parameters cell (tag `parameters`): profile,
   corpus, data_dir, labels, seeds, results, negative. The set-up, three lines, ends with `study`: below it a place is kept for
   the answer, which cells further down fill.

       from tacred_utils.notebook import charts, reports
       from tacred_utils.notebook.study import Study

       study = Study("06", profile, corpus, data_dir, labels, seeds, results, negative)
       study

2. What was found is said in findings, written by hand with numbers from the runs and the test that makes each true:

       marks = study.estimate("micro_f1", "bert joint typed_marker_punct", "bert joint")  # first less second
       study.finding("Typed marks are worth {marks} micro F1 over the paper's head.", marks=marks,
                     holds=marks.low > 0, lead=True)

   `lead=True` puts it into the answer at the top as well: two or three sentences. A sentence has no branches: where it
   is not true on other runs it is shown with their numbers as "not here". On the published runs of redocred_small each
   must hold (tests/test_notebooks.py). Claim what the test tests: "above" needs low > 0, "no more than" high < edge.
3. `study.figure(name, charts.intervals, frame, study.families, title=…)` and `study.table(name, frame, caption)` save
   and show; the one figure of the answer has `lead=True`. Both pass over an empty frame with a sentence.
4. Runs: `study.train()` in notebooks 02 to 05 and 08; afterwards and elsewhere `study.answering(task)` gives the
   systems that are here by name, `study.system("bert two_stages")` one (or None), `study.estimate` a score or a
   difference with its interval, over seeds and sentences (documents). What is missing becomes NaN or an empty frame,
   is said once, and needs no `if`.
5. A section is question → method → result → reading, three to six cells: prose, a cell of about eight lines that shows
   something, and a finding or a sentence of prose that will stay true. At most 25 code cells and 170 lines. What two
   notebooks need is a function of `reports`; no class, no function of more than five lines stands in a notebook.
6. At the end: "Against the references", "What could be wrong", "Written, and what comes next".
"""
